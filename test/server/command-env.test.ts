import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { differenceOf } from '../../src/runner/command.ts'
import { DEFAULT_LIMITS, runCommand } from '../../src/runner/run-command.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { commandVariables, secretVariables } from '../../src/server/command-env.ts'
import { policyOfRun } from '../../src/server/commands.ts'
import { readSettings } from '../../src/server/read-settings.ts'
import { secretsOf } from '../../src/server/settings.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { BARE } from '../agent/tools/bare-call.ts'
import { startProcess, temporaryFolder } from '../runner/support.ts'

const read = (names: string) =>
  readSettings({ dataDir: '/data' }, { RETRAI_COMMAND_ENV: names, HOME: '/home/me' })

test('names are separated by commas, and each is kept once', () => {
  const settings = read('DATABASE_URL, CI,CI')._unsafeUnwrap()
  expect(settings.RETRAI_COMMAND_ENV).toEqual(['CI', 'DATABASE_URL'])
})

test.each([
  ['CI=true', /"CI=true", which is not the name of a variable: write names with commas/],
  ['A B', /"A B", which is not the name of a variable/],
  ['CI,', /"", which is not the name of a variable/],
  ['CI,OPENAI_API_KEY', /OPENAI_API_KEY, which is a setting of this server/],
  ['RETRAI_TOKEN', /RETRAI_TOKEN, which is a setting of this server/],
  ['EVENTSTORE_URL', /EVENTSTORE_URL, which is a setting of this server/],
  ['LD_PRELOAD', /LD_PRELOAD, which changes how every program is loaded/],
])('%s is refused, and the error names what is wrong', (names, problem) => {
  const error = read(names)._unsafeUnwrapErr()
  expect(error).toMatch(/RETRAI_COMMAND_ENV/)
  expect(error).toMatch(problem)
})

test('a variable that is not set is left out', () => {
  const env = { CI: 'true', EMPTY: '', OTHER: 'x' }
  expect(commandVariables(['CI', 'EMPTY', 'MISSING'], env)).toEqual({ CI: 'true', EMPTY: '' })
})

test('values are secrets if their names sound like it, and so are passwords in addresses', () => {
  const variables = {
    CI: 'true',
    NPM_TOKEN: 'npm-token-1234',
    DB_PASSWORD: 'correct horse',
    DATABASE_URL: 'postgres://me:p%40ssword1@db/app',
  }
  expect(secretVariables(variables)).toEqual([
    { name: 'NPM_TOKEN', value: 'npm-token-1234' },
    { name: 'DB_PASSWORD', value: 'correct horse' },
    { name: 'DATABASE_URL', value: 'p%40ssword1' },
    { name: 'DATABASE_URL', value: 'p@ssword1' },
  ])
  const settings = read('NPM_TOKEN,CI')._unsafeUnwrap()
  expect(secretsOf(settings, variables)).toEqual([{ name: 'NPM_TOKEN', value: 'npm-token-1234' }])
})

test("commands of the model see the variables, and the server's own tools do not", async () => {
  const cwd = await temporaryFolder()
  await writeFile(join(cwd, 'note'), 'a')
  const seen: (string | undefined)[] = []
  const toolbox = createToolbox({
    runCommand: (command) => {
      seen.push(command.env?.OF_MINE)
      return runCommand(command)
    },
    artifacts: { put: async () => 'none' },
    variables: { OF_MINE: 'yes' },
  })
  await using workspace = new Workspace({ cwd }, (request) => {
    seen.push(request.env?.OF_MINE)
    return startProcess(request)
  })
  const { signal } = new AbortController()
  const call = (tool: string, args: Record<string, string>) =>
    toolbox.execute(
      { call_id: '1', tool, args, read_only: false },
      { ...BARE, cwd, workspace, signal },
    )
  const { output } = await call('bash_exec', { command: 'echo "$OF_MINE"' })
  expect(output).toBe('yes\n')
  await call('git_status', {})
  await call('grep_search', { pattern: 'a' })
  expect(seen[0]).toBe('yes')
  expect(seen.slice(1)).toEqual([undefined])
})

test('the first record of a run has the names, and a result has them if they were others', async () => {
  const project = await temporaryFolder()
  const policyWith = async (...variables: string[]) => {
    const limits = { ...DEFAULT_LIMITS, variables }
    const wanted = { atLeast: null, network: 'none' } as const
    return (await policyOfRun(NO_ISOLATION, limits, project, wanted))._unsafeUnwrap()
  }
  const none = await policyWith()
  const one = await policyWith('CI')
  const other = await policyWith('DB')
  expect(one.variables).toEqual(['CI'])
  expect('variables' in none).toBe(false)
  for (const [before, now, difference] of [
    [none, none, null],
    [one, one, null],
    [none, one, { variables: ['CI'] }],
    [one, other, { variables: ['DB'] }],
    [one, none, { variables: [] }],
  ] as const) {
    expect(differenceOf(before, now)).toEqual(difference)
  }
})
