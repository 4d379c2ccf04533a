import { describe, expect, test } from 'vitest'
import { describeEnvironment, systemPrompt } from '../../../src/agent/planning/introduction.ts'
import { goals } from '../../../src/checks/catalogue.ts'
import type { IsolationPolicy } from '../../../src/domain/isolation.ts'
import { configOf } from '../../checks/support.ts'

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
  ...CONTAINED,
  level: 'none',
  network: 'host',
  protected: [],
  visible: ['everything'],
  writable: ['everything'],
}
const HOSTS = { network: 'allow-list', hosts: ['pypi.org', 'files.pythonhosted.org'] } as const

describe('the environment of commands, as the model reads it', () => {
  test.each<[Partial<IsolationPolicy>, rights: RegExp, network: RegExp, stays: RegExp]>([
    [
      {},
      /container.*change the project \(except \.git\/hooks, \.git\/config\).*is hidden/,
      /have no network/,
      /\$HOME and \$TMPDIR stays.*process_start.*on localhost/,
    ],
    [{ visible: ['system', 'repository'] }, /the repository around/, /no network/, /stays/],
    [HOSTS, /hidden/, /only these hosts.*: pypi\.org, files\.pythonhosted\.org\./, /stays/],
    [{ network: 'full' }, /hidden/, /every host of the Internet/, /stays/],
    [{ level: 'landlock' }, /confined/, /no network/, /no ports/],
    [BARE, /^(?!.*hidden).*are not isolated/, /network of this machine/, /^(?!.*\$HOME)/],
  ])('is three lines, for %j', (policy, ...expected) => {
    const lines = describeEnvironment({ ...CONTAINED, ...policy }).split('\n')
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)))
  })

  test('names the tool that asks for hosts, where it can give some; where commands are refused, it is one line', () => {
    const asked = (policy: Partial<IsolationPolicy>) =>
      describeEnvironment({ ...CONTAINED, ...policy }, true)
    expect(asked({})).toMatch(/request_network asks a person/)
    for (const policy of [{ network: 'full' }, { level: 'landlock' }] as const) {
      expect(asked(policy)).not.toMatch(/request_network/)
    }
    expect(asked({ level: 'refused' })).toMatch(/^- Commands are refused.*$/)
  })
})

describe('the system prompt', () => {
  test.each(goals)(
    '$name: contains the goal, the folder, the limit and the environment',
    (goal) => {
      const config = configOf(goal.name, '/home/dev/project')
      const prompt = systemPrompt(config, BARE)
      const environment = describeEnvironment(BARE)
      for (const part of [goal.prompt, config.cwd, 'at most 20 iterations', environment]) {
        expect(prompt).toContain(part)
      }
      expect(prompt).not.toContain('undefined')
      expect(prompt).not.toContain('a person decides')
      expect(systemPrompt({ ...config, hitl_enabled: true }, BARE)).toContain('a person decides')
    },
  )
})
