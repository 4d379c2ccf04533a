import { chmod, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { retrai } from '../cli/support.ts'
import { isMissing } from '../support/missing.ts'
import { bash, printed, Site, writeFiles } from '../support/site.ts'
import { test as base } from '../support/test.ts'

const SOLVE = "echo 'echo $(($1 + $2))' > add.sh"
const ONLY_ASKED = 'echo echo 3 > add.sh'
const CHEAT = "sed -i 's/= 3/= 0/' tests/add.sh"
const FILES = {
  'add.sh': 'echo 0\n',
  'test.sh': 'for one in tests/*.sh; do sh "$one" || exit 1; done\n',
  'tests/add.sh': 'test "$(sh add.sh 1 2)" = 3\n',
}
const check = { command: 'sh test.sh' }

type Wanted = {
  readonly options?: readonly string[]
  readonly changes?: object
  readonly more?: Readonly<Record<string, string>>
}

/** `exported` makes an export of a run that does this; its project is gone. One server runs all of them. */
const test = base
  .extend('recorder', { scope: 'file' }, async ({ serverOptions: _ }, { onCleanup }) => {
    const site = await Site.open()
    onCleanup(() => site.close())
    const commands: string[] = []
    const model = await site.model(({ turn, conversation }) => {
      const [, run] = /\/project-(\d+)\./.exec(conversation) ?? []
      return turn === 0 ? bash(commands[Number(run)] ?? '') : { text: 'Done.' }
    })
    return { site, commands, server: await site.serve('data', { model }) }
  })
  .extend('exported', async ({ recorder: { site, commands, server }, site: own }) => {
    return async (command: string, { options = [], changes = {}, more = {} }: Wanted = {}) => {
      const cwd = await site.project(`project-${commands.push(command) - 1}`)
      await writeFiles(cwd, { ...FILES, ...more })
      for (const path of Object.keys(more)) await chmod(join(cwd, path), 0o755)
      const runId = await server.start(cwd, { check, max_turns_per_iteration: 5, ...changes })
      await server.untilStatus(runId, 'achieved')
      const file = own.path('run.tar.gz')
      await printed(['export', runId, file, '--server', server.url, ...options])
      await rm(cwd, { recursive: true })
      return file
    }
  })

test('an auditor without the project checks an honest run again, and gets the same verdict', async ({
  exported,
}) => {
  const accept = { files: { 'more.sh': 'test "$(sh add.sh 20 3)" = 23\n' }, command: 'sh more.sh' }
  const file = await exported(SOLVE, { options: ['--files'], changes: { accept } })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([
    0,
    expect.stringContaining('hidden check: achieved, the same as'),
  ])
  const json = JSON.parse((await retrai(['recheck', file, '--json'])).stdout)
  expect(json).toMatchObject({
    compared: [
      { check: 'original_checks', recorded: 'achieved', here: 'achieved' },
      { check: 'accept', recorded: 'achieved', here: 'achieved' },
    ],
    lacking: [],
  })
})

/** The interpreter of a project, which is another one where a run is checked again. */
const PYTHON = `#!/bin/sh
case $PWD in *recheck*) echo Python 3.9.2 ;; *) echo Python 3.9.1+local ;; esac
`

test('the versions of programs here are beside those that the run was checked with', async ({
  exported,
}) => {
  const more = { '.venv/bin/python': PYTHON }
  const file = await exported(SOLVE, { options: ['--files'], more })
  const { stdout } = await retrai(['recheck', file])
  expect(stdout).toMatch(
    /Programs here: bash \d[^ ]*, .*python3 3\.9\.2 \(recorded: 3\.9\.1\+local\)/,
  )
  const { programs } = JSON.parse((await retrai(['recheck', file, '--json'])).stdout)
  const python = { name: 'python3', recorded: '3.9.1+local', here: '3.9.2' }
  expect(programs).toEqual(expect.arrayContaining([python]))
})

test('a run that edited a test does not pass with the original one here either', async ({
  exported,
}) => {
  const file = await exported(CHEAT, { options: ['--files'] })
  const { code, stdout } = await retrai(['recheck', file])
  expect(code).toBe(0)
  expect(stdout).toContain('not_achieved, the same as recorded (not_achieved)')
})

/** Bytecode in place of a helper of the tests, which Python does not compare with that. */
const COMPILED = `echo 'want = "0"' > /tmp/helper.py; python3 -c 'import importlib.util, py_compile as p
p.compile("/tmp/helper.py", importlib.util.cache_from_source("tests/helper.py"), invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)'`

test.skipIf(isMissing('python3'))(
  'bytecode of the agent is not run here either',
  async ({ exported }) => {
    const more = {
      'tests/helper.py': 'want = "3"\n',
      'tests/run.py': 'import helper\nassert open("out").read().strip() == helper.want\n',
      out: '0\n',
    }
    const changes = { check: { command: 'python3 tests/run.py' } }
    const file = await exported(COMPILED, { options: ['--files'], changes, more })
    const { code, stdout } = await retrai(['recheck', file])
    expect([code, stdout]).toEqual([
      0,
      expect.stringContaining('not_achieved, the same as recorded'),
    ])
  },
)

test('a test that the agent added and that helps the others does not help them here either', async ({
  exported,
}) => {
  const options = ['--files', '--force']
  const added = "echo 'echo echo 3 > add.sh' > tests/a.sh; echo 'echo echo 0 > add.sh' > tests/z.sh"
  const cheat = await retrai(['recheck', await exported(added, { options })])
  expect([cheat.code, cheat.stdout]).toEqual([
    0,
    expect.stringContaining('not_achieved, the same as recorded (not_achieved)'),
  ])
  const more = `${SOLVE}; cp tests/add.sh tests/b.sh`
  const honest = await retrai(['recheck', await exported(more, { options })])
  expect([honest.code, honest.stdout]).toEqual([0, expect.stringContaining(': achieved, the same')])
})

test('a check that depends on the machine may have another verdict here', async ({ exported }) => {
  const inProject = 'case $PWD in *recheck*) exit 1 ;; *) sh test.sh ;; esac'
  const changes = { check: { command: inProject } }
  const file = await exported(SOLVE, { options: ['--files'], changes })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([1, expect.stringContaining('NOT the same as recorded')])
})

const IGNORED = { '.gitignore': 'node_modules\n', 'node_modules/a': 'a\n' }

test('a check that fails here without packages that git ignores proves nothing', async ({
  exported,
}) => {
  const changes = { check: { command: 'test -f node_modules/a && sh test.sh' } }
  const file = await exported(SOLVE, { options: ['--files'], changes, more: IGNORED })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([3, expect.stringMatching(/Not in the export.*node_modules/)])
})

test('a check that succeeds here without them needs none', async ({ exported }) => {
  const file = await exported(SOLVE, { options: ['--files'], more: IGNORED })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([0, expect.not.stringContaining('Not in the export')])
})

test('an export without the files says what is lacking, and one that was altered is not checked', async ({
  exported,
  site,
}) => {
  const file = await exported(ONLY_ASKED)
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([3, expect.stringMatching(/Not in the export.*tests\/add\.sh/)])
  expect(await retrai(['recheck', site.path('none.tar.gz')])).toMatchObject({ code: 3 })
})
