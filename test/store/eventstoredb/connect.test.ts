import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { proxyVariable } from '../../../src/store/eventstoredb/connect.ts'

const hosts = [{ name: 'node1.example' }, { name: 'node2.example' }]

test('the proxy that gRPC would use is named, by the precedence of its variables', () => {
  expect(proxyVariable(hosts, {})).toBeNull()
  expect(proxyVariable(hosts, { https_proxy: '' })).toBeNull()
  expect(proxyVariable(hosts, { http_proxy: 'http://p', https_proxy: 'http://p' })).toBe(
    'https_proxy',
  )
  expect(proxyVariable(hosts, { http_proxy: 'http://p', grpc_proxy: 'http://p' })).toBe(
    'grpc_proxy',
  )
})

test('a proxy matters unless every host is exempt', () => {
  const env = { https_proxy: 'http://p' }
  expect(proxyVariable(hosts, { ...env, no_proxy: 'node1.example' })).toBe('https_proxy')
  expect(proxyVariable(hosts, { ...env, no_proxy: 'node1.example,node2.example' })).toBeNull()
  expect(proxyVariable(hosts, { ...env, no_grpc_proxy: '.example' })).toBeNull()
})

test('DEP0123 is not printed, other warnings are', async () => {
  const module = new URL('../../../src/store/eventstoredb/connect.ts', import.meta.url)
  const script = `
    const { silenceServername } = await import('${module.href}')
    silenceServername()
    process.emitWarning('Setting the TLS ServerName', 'DeprecationWarning', 'DEP0123')
    process.emitWarning('something else', 'DeprecationWarning', 'DEP9999')`
  const args = ['--input-type=module', '--eval', script]
  const { stderr } = await promisify(execFile)(process.execPath, args)
  expect(stderr).toContain('DEP9999')
  expect(stderr).not.toContain('DEP0123')
})
