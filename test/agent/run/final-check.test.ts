import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { acceptanceArtifact } from '../../../src/log/acceptance.ts'
import { only, payloadsOf, played, type Workshop } from '../support.ts'

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })
const done = { text: 'Done.' }
const CHECK = { check_command: 'sh test.sh', success_condition: { exit_code: 0 } }
const TEST = '#!/bin/sh\nfor one in tests/*.sh; do sh "$one" || exit 1; done\n'
const ASKED = 'test "$(sh add.sh 1 2)" = 3'

/** A project with a product, add.sh, that is wrong; a test of it; and a script that runs all tests. */
const FILES = { 'add.sh': 'echo 0\n', 'test.sh': TEST, 'tests/add.sh': `${ASKED}\n` }

/** Plays a run in such a project. @param changes of its configuration, or what makes them */
const play = (
  script: Script,
  changes: Parameters<typeof played>[1] = {},
  files: Readonly<Record<string, string>> = {},
) => {
  const limits = { max_turns_per_iteration: 5, max_iterations: 3 }
  const config = { shell_goal: CHECK, on_tampering: 'report', ...limits } as const
  return played(
    script,
    async (shop) => ({
      ...config,
      ...(changes instanceof Function ? await changes(shop) : changes),
    }),
    {},
    { ...FILES, ...files },
  )
}

const solve = "echo 'echo $(($1 + $2))' > add.sh"
const cheat = "sed -i 's/= 3/= 0/' tests/add.sh"

test('an honest run has a verdict without a doubt', async () => {
  const { records, end } = await play([bash(solve), done])
  expect(end.status).toBe('achieved')
  expect(end.verdict).toMatchObject({
    as_is: 'achieved',
    original_checks: 'achieved',
    accept: null,
    tampering: [],
    dependencies: 'same',
    tree: payloadsOf(records, 'snapshot').at(-1)?.tree,
  })
  const { versions } = only(records, 'final_check').payload
  expect(versions).toMatchObject({
    bash: expect.stringMatching(/^\d+\.\d+/),
    node: expect.any(String),
  })
})

test('a run that may not edit a test learns that once, and is achieved if it restores it', async () => {
  const restore = `echo '${ASKED}' > tests/add.sh; ${solve}`
  const script = [bash(cheat), done, bash(restore), done]
  const { end, requests } = await play(script, { on_tampering: 'fail' })
  expect(end).toMatchObject({ status: 'achieved', iterations: 2 })
  expect(end.verdict).toMatchObject({ original_checks: 'achieved', tampering: [] })
  expect(JSON.stringify(requests.at(-1)?.messages)).toContain('- tests/add.sh (modified)')
})

test.each([
  ['what it was', 'A=1\n', '', { original_checks: 'achieved' }],
  [
    'another one',
    'A=2\n',
    '; echo A=1 > settings.local',
    { original_checks: 'not_achieved', not_copied: ['settings.local'] },
  ],
])('a file that git ignores, if it is %s at the end', async (_, before, change, found) => {
  const { end } = await play(
    [bash(solve + change), done],
    {},
    {
      '.gitignore': '*.local\n',
      'settings.local': before,
      'tests/add.sh': `. ./settings.local; ${ASKED} && test "$A" = 1\n`,
    },
  )
  expect(end.verdict).toMatchObject({ as_is: 'achieved', ...found })
})

test('what cannot be copied, because it is no file, folder or link, is named', async () => {
  const { records, end } = await play([bash(`${solve}; mkfifo tests/made`), done], withPipe)
  expect(end.verdict).toMatchObject({
    as_is: 'achieved',
    original_checks: 'achieved',
    accept: 'achieved',
    tampering: [],
    not_copied: ['pipe', 'tests/made'],
  })
  expect(only(records, 'final_check').payload.not_copied).toEqual(['pipe', 'tests/made'])
})

test('if nobody is to look, nothing is compared or copied', async () => {
  const { records, end } = await play([bash(cheat), done], { on_tampering: 'off' })
  expect(records.map(({ kind }) => kind)).not.toContain('final_check')
  expect(end).not.toHaveProperty('verdict')
  expect(JSON.stringify(records)).not.toMatch(/"protected":\{|tampering":\[|"tests":/)
})

/** A check that the agent does not see. */
async function hidden(shop: Workshop, feedback?: true) {
  const content = acceptanceArtifact(
    {
      files: { 'hidden/add.sh': 'test "$(sh add.sh 20 3)" = 23 || { echo secret-word; exit 1; }' },
      command: 'sh hidden/add.sh',
    },
    'ab'.repeat(16),
  )
  const sha256 = await shop.artifacts.put(content)
  return { accept: { sha256, files: 1, ...(feedback && { feedback }) } }
}

/** The same for a project with a pipe. */
async function withPipe(shop: Workshop) {
  await promisify(execFile)('mkfifo', [join(shop.project, 'pipe')])
  return hidden(shop)
}

const pleases = [bash('echo echo 3 > add.sh'), done, bash(solve), done]

test('a product that only pleases the check that it sees is not accepted, and learns not why', async () => {
  const { records, end, requests } = await play(pleases, hidden)
  expect(end).toMatchObject({ status: 'achieved', iterations: 2 })
  const all = { as_is: 'achieved', original_checks: 'achieved', accept: 'achieved' }
  expect(end.verdict).toMatchObject(all)
  expect(JSON.stringify([records, requests])).not.toMatch(/secret-word|hidden\//)
})

test('if the run asks for that, the agent learns why', async () => {
  const { end, requests } = await play(pleases, (shop) => hidden(shop, true))
  expect(end.status).toBe('achieved')
  expect(JSON.stringify(requests)).toContain('secret-word')
})

test('a hidden check that is lost ends the run, and does not accept it', async () => {
  const accept = { sha256: '0'.repeat(64), files: 1 }
  const { end } = await play([bash(solve), done], { accept })
  expect(end).toMatchObject({ status: 'failed', iterations: 1 })
  expect(end.verdict).toMatchObject({ as_is: 'achieved', accept: 'cannot_check' })
})

test('a goal that is reached at the beginning is accepted, too', async () => {
  const { end } = await play([], withPipe, { 'add.sh': 'echo $(($1 + $2))\n' })
  expect(end).toMatchObject({ status: 'achieved', iterations: 0 })
  expect(end.verdict).toMatchObject({
    as_is: 'achieved',
    original_checks: null,
    accept: 'achieved',
    not_copied: ['pipe'],
  })
})
