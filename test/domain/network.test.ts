import { expect, test } from 'vitest'
import { allows, beyond } from '../../src/domain/hosts.ts'
import { Network, withoutPresets } from '../../src/domain/network.ts'
import { by, claim, claimAfterCrash, create, given, reply, result, story } from './support.ts'

test.each([
  ['pypi.org', 'pypi.org', 443, true],
  ['pypi.org', 'pypi.org', 80, false],
  ['pypi.org:80', 'pypi.org', 80, true],
  ['pypi.org:80', 'pypi.org', 443, false],
  ['pypi.org', 'pypi.org', 22, false],
  ['pypi.org', 'evil-pypi.org', 443, false],
  ['pypi.org', 'pypi.org.evil.com', 443, false],
  ['*.example.org', 'a.b.example.org', 443, true],
  ['*.example.org', 'example.org', 443, false],
  ['*.example.org', 'evilexample.org', 443, false],
  ['*.example.org', '.example.org', 443, false],
  ['example.org:8443', 'example.org', 8443, true],
  ['example.org:8443', 'example.org', 443, false],
])('the entry %s and the host %s at port %i: %s', (entry, host, port, isAllowed) => {
  expect(allows([entry], host, port)).toBe(isAllowed)
})

test.each([
  'localhost',
  '127.0.0.1',
  '2130706433',
  '0x7f.1',
  '[::1]',
  'https://pypi.org',
  'Pypi.org',
  '*',
  '*.*.org',
  'a b.org',
  'pypi.org:0',
  'pypi.org:70000',
  'preset:everything',
  '',
])('a list of hosts cannot name %j', (entry) => {
  expect(Network.safeParse({ allow: [entry] }).success).toBe(false)
})

test('presets are replaced by their hosts, and each host is named once', () => {
  const network = { allow: ['preset:goal', 'own.example', 'preset:pypi'] }
  expect(withoutPresets(network, ['pypi'])).toEqual({
    allow: ['pypi.org', 'files.pythonhosted.org', 'own.example'],
  })
  expect(withoutPresets('full', ['pypi'])).toBe('full')
})

test('an entry goes beyond a list if no entry of the list covers it', () => {
  const most = ['pypi.org', '*.example.org', 'own.net:8443']
  expect(beyond(['pypi.org', 'a.example.org', '*.b.example.org', 'pypi.org:443'], most)).toEqual([])
  const further = ['*.org', 'example.org', 'pypi.org:22', 'pypi.org:80', 'own.net', '*.pypi.org']
  expect(beyond(further, most)).toEqual(further)
})

const connection = {
  host: 'evil.com',
  port: 443,
  allowed: false,
  reason: 'It is not in the list',
  bytes_in: 0,
  bytes_out: 0,
}
const notices = (claimant = 'p1') =>
  by(claimant, {
    type: 'record_notices',
    notices: [{ kind: 'network_connection', payload: connection }],
  })

test('connections are recorded with their call while it runs, and change nothing', () => {
  story(
    [create(), claim(), reply(['bash_exec'])],
    [notices(), '1 network_connection', { call_id: 'c0', host: 'evil.com', allowed: false }],
    [result('c0', 'bash_exec'), '1 tool_result c0 ok, step_start evaluate'],
  )
})

test('the connections of a check belong to no call', () => {
  given(create(), claim(), reply()).each([notices(), '1 network_connection', { call_id: null }])
})

test('a connection does not reset the count of crashes', () => {
  const checking = [create(), claim(), reply(), claimAfterCrash('p2', 'p1')]
  expect(given(...checking, notices('p2')).state?.crashes).toBe(1)
})
