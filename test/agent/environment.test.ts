import { describe, expect, test } from 'vitest'
import { describeEnvironment } from '../../src/agent/environment.ts'
import type { IsolationPolicy } from '../../src/domain/isolation.ts'

const CONTAINED: IsolationPolicy = {
  level: 'namespaces',
  network: 'none',
  visible: ['system', 'tools:~/.nvm'],
  writable: ['tmp', 'home', 'project'],
  protected: ['.git/hooks', '.git/config'],
  limits: {},
  policy_sha256: '0'.repeat(64),
}
const BARE: IsolationPolicy = {
  ...{ ...CONTAINED, level: 'none', network: 'host', protected: [] },
  ...{ visible: ['everything'], writable: ['everything'] },
}
const linesOf = (policy: Partial<IsolationPolicy>, base = CONTAINED) =>
  describeEnvironment({ ...base, ...policy }).split('\n')

describe('the environment of commands, as the model reads it', () => {
  test('is three lines: what commands may do, what they reach, and what stays', () => {
    const [rights, network, stays, ...more] = linesOf({})
    expect(rights).toMatch(/container.*change the project \(except \.git\/hooks, \.git\/config\)/)
    expect(rights).toMatch(/Everything else of this machine is hidden/)
    expect(network).toMatch(/have no network/)
    expect(stays).toMatch(/\$HOME and \$TMPDIR stays.*process_start.*on localhost/)
    expect(more).toEqual([])
  })

  test('names the repository around a package, which commands read', () => {
    expect(linesOf({ visible: ['system', 'repository'] })[0]).toMatch(/the repository around/)
    expect(linesOf({})[0]).not.toMatch(/repository/)
  })

  test('names the hosts that commands reach', () => {
    const hosts = ['pypi.org', 'files.pythonhosted.org']
    const [, network] = linesOf({ network: 'allow-list', hosts })
    expect(network).toMatch(/only these hosts.*: pypi\.org, files\.pythonhosted\.org\./)
    expect(linesOf({ network: 'full' })[1]).toMatch(/every host of the Internet/)
  })

  test('names the tool that asks for hosts, where it can give some', () => {
    const asked = (policy: Partial<IsolationPolicy>) =>
      describeEnvironment({ ...CONTAINED, ...policy }, true)
    expect(asked({})).toMatch(/request_network asks a person/)
    for (const policy of [{ network: 'full' }, { level: 'landlock' }] as const) {
      expect(asked(policy)).not.toMatch(/request_network/)
    }
  })

  test('promises no ports where commands make no sockets', () => {
    expect(linesOf({ level: 'landlock' })[2]).toMatch(/no ports/)
  })

  test('promises no isolation and no home where there is none', () => {
    const text = describeEnvironment(BARE)
    expect(text).toMatch(/are not isolated/)
    expect(text).toMatch(/network of this machine/)
    expect(text).not.toMatch(/\$HOME|hidden/)
  })

  test('says that commands are refused', () => {
    expect(linesOf({ level: 'refused' })).toEqual([expect.stringMatching(/Commands are refused/)])
  })
})
