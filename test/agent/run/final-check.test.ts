import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { createArtifacts } from '../../../src/artifacts/artifacts.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { acceptanceArtifact } from '../../../src/log/acceptance.ts'
import { only, Workshop } from '../support.ts'

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })
const done = { text: 'Done.' }
const CHECK = { check_command: 'sh test.sh', success_condition: { exit_code: 0 } }
const TEST = '#!/bin/sh\nfor one in tests/*.sh; do sh "$one" || exit 1; done\n'
const ASKED = 'test "$(sh add.sh 1 2)" = 3'

type Reply = typeof done | ReturnType<typeof bash>

/** A project with a product, add.sh, that is wrong; a test of it; and a script that runs all tests. */
async function project(script: readonly Reply[]): Promise<Workshop> {
  const shop = await Workshop.open(script)
  await shop.file('add.sh', 'echo 0\n')
  await shop.file('test.sh', TEST)
  await shop.file('tests/add.sh', `${ASKED}\n`)
  return shop
}

const play = (shop: Workshop, changes: Partial<RunConfig> = {}) =>
  shop.play({
    ...{ shell_goal: CHECK, max_turns_per_iteration: 5, max_iterations: 3, on_tampering: 'report' },
    ...changes,
  })

const solve = "echo 'echo $(($1 + $2))' > add.sh"
const cheat = "sed -i 's/= 3/= 0/' tests/add.sh"

test('an honest run has a verdict without a doubt', async () => {
  await using shop = await project([bash(solve), done])
  const records = await play(shop)
  const tree = records.filter(({ kind }) => kind === 'snapshot').at(-1)?.payload
  expect(only(records, 'run_end').payload).toMatchObject({
    status: 'achieved',
    verdict: {
      ...{ as_is: 'achieved', original_checks: 'achieved', accept: null, tampering: [] },
      ...{ dependencies: 'same', tree: (tree as { tree: string }).tree },
    },
  })
  const { versions } = only(records, 'final_check').payload
  expect(versions).toMatchObject({
    bash: expect.stringMatching(/^\d+\.\d+/),
    node: expect.any(String),
  })
})

test('a run that may not edit a test learns that once, and is achieved if it restores it', async () => {
  const restore = `echo '${ASKED}' > tests/add.sh; ${solve}`
  await using shop = await project([bash(cheat), done, bash(restore), done])
  const records = await play(shop, { on_tampering: 'fail' })
  expect(only(records, 'run_end').payload).toMatchObject({
    ...{ status: 'achieved', iterations: 2 },
    verdict: { original_checks: 'achieved', tampering: [] },
  })
  const told = JSON.stringify(shop.requests.at(-1)?.messages)
  expect(told).toContain('- tests/add.sh (modified)')
})

test('what git ignores is in the copy if it is what it was, and is named if not', async () => {
  const uses = `. ./settings.local; ${ASKED} && test "$A" = 1\n`
  const changes = `echo 'test "$A" = 2' > /dev/null; echo A=1 > settings.local`
  for (const [before, script] of [
    ['A=1\n', solve],
    ['A=2\n', `${solve}; ${changes}`],
  ] as const) {
    await using shop = await project([bash(script), done])
    await shop.file('.gitignore', '*.local\n')
    await shop.file('settings.local', before)
    await shop.file('tests/add.sh', uses)
    const { verdict } = only(await play(shop), 'run_end').payload
    const isSame = before === 'A=1\n'
    expect(verdict).toMatchObject({
      as_is: 'achieved',
      original_checks: isSame ? 'achieved' : 'not_achieved',
      ...(isSame ? {} : { not_copied: ['settings.local'] }),
    })
  }
})

test('what cannot be copied, because it is no file, folder or link, is named', async () => {
  await using shop = await project([bash(`${solve}; mkfifo tests/made`), done])
  await promisify(execFile)('mkfifo', [join(shop.project, 'pipe')])
  const records = await play(shop, await hidden(shop))
  expect(only(records, 'run_end').payload.verdict).toMatchObject({
    ...{ as_is: 'achieved', original_checks: 'achieved', accept: 'achieved', tampering: [] },
    not_copied: ['pipe', 'tests/made'],
  })
  expect(only(records, 'final_check').payload.not_copied).toEqual(['pipe', 'tests/made'])
})

test('if nobody is to look, nothing is compared or copied', async () => {
  await using shop = await project([bash(cheat), done])
  const records = await play(shop, { on_tampering: 'off' })
  expect(records.map(({ kind }) => kind)).not.toContain('final_check')
  expect(only(records, 'run_end').payload).not.toHaveProperty('verdict')
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
  const sha256 = await createArtifacts(join(shop.folder, 'artifacts')).put(content)
  return { accept: { sha256, files: 1, ...(feedback && { feedback }) } }
}

test('a product that only pleases the check that it sees is not accepted, and learns not why', async () => {
  await using shop = await project([bash('echo echo 3 > add.sh'), done, bash(solve), done])
  const records = await play(shop, await hidden(shop))
  expect(only(records, 'run_end').payload).toMatchObject({
    ...{ status: 'achieved', iterations: 2 },
    verdict: { as_is: 'achieved', original_checks: 'achieved', accept: 'achieved' },
  })
  expect(JSON.stringify([records, shop.requests])).not.toMatch(/secret-word|hidden\//)
})

test('if the run asks for that, the agent learns why', async () => {
  await using shop = await project([bash('echo echo 3 > add.sh'), done, bash(solve), done])
  const records = await play(shop, await hidden(shop, true))
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(JSON.stringify(shop.requests)).toContain('secret-word')
})

test('a hidden check that is lost ends the run, and does not accept it', async () => {
  await using shop = await project([bash(solve), done])
  const accept = { sha256: '0'.repeat(64), files: 1 }
  expect(only(await play(shop, { accept }), 'run_end').payload).toMatchObject({
    ...{ status: 'failed', iterations: 1 },
    verdict: { as_is: 'achieved', accept: 'cannot_check' },
  })
})

test('a goal that is reached at the beginning is accepted, too', async () => {
  await using shop = await project([])
  await shop.file('add.sh', 'echo $(($1 + $2))\n')
  await promisify(execFile)('mkfifo', [join(shop.project, 'pipe')])
  expect(only(await play(shop, await hidden(shop)), 'run_end').payload).toMatchObject({
    ...{ status: 'achieved', iterations: 0 },
    verdict: {
      ...{ as_is: 'achieved', original_checks: null, accept: 'achieved', not_copied: ['pipe'] },
    },
  })
})
