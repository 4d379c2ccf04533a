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

/** The interpreter of a project, which is another one where a run is checked again. */
const PYTHON = `#!/bin/sh
case $PWD in *recheck*) echo Python 3.9.2 ;; *) echo Python 3.9.1+local ;; esac
`

test('an auditor without the project checks an honest run again, and gets the same verdict, beside the versions of programs', async ({
  exported,
}) => {
  const accept = { files: { 'more.sh': 'test "$(sh add.sh 20 3)" = 23\n' }, command: 'sh more.sh' }
  const more = { '.venv/bin/python': PYTHON }
  const file = await exported(SOLVE, { options: ['--files'], changes: { accept }, more })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([
    0,
    expect.stringContaining('hidden check: achieved, the same as'),
  ])
  expect(stdout).toMatch(
    /Programs here: bash \d[^ ]*, .*python3 3\.9\.2 \(recorded: 3\.9\.1\+local\)/,
  )
  expect(JSON.parse((await retrai(['recheck', file, '--json'])).stdout)).toMatchObject({
    compared: [
      { check: 'original_checks', recorded: 'achieved', here: 'achieved' },
      { check: 'accept', recorded: 'achieved', here: 'achieved' },
    ],
    lacking: [],
    programs: expect.arrayContaining([{ name: 'python3', recorded: '3.9.1+local', here: '3.9.2' }]),
  })
})

/** Bytecode in place of a helper of the tests, which Python does not compare with that. */
const COMPILED = `echo 'want = "0"' > /tmp/helper.py; python3 -c 'import importlib.util, py_compile as p
p.compile("/tmp/helper.py", importlib.util.cache_from_source("tests/helper.py"), invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)'`
const IN_PYTHON = {
  'tests/helper.py': 'want = "3"\n',
  'tests/run.py': 'import helper\nassert open("out").read().strip() == helper.want\n',
  out: '0\n',
}
const IGNORED = { '.gitignore': 'node_modules\n', 'node_modules/a': 'a\n' }
const checkedBy = (command: string) => ({ changes: { check: { command } } })
const ADDED = "echo 'echo echo 3 > add.sh' > tests/a.sh; echo 'echo echo 0 > add.sh' > tests/z.sh"
const DIFFERENT = 'case $PWD in *recheck*) exit 1 ;; *) sh test.sh ;; esac'

type Row = Wanted & { readonly does: string; readonly code: number; readonly says: RegExp }
const FORCED = { options: ['--files', '--force'] }

/** What a run does, and what is found where it is checked again. */
const ROWS: Readonly<Record<string, Row>> = {
  'a run that edited a test does not pass with the original one here either': {
    does: CHEAT,
    code: 0,
    says: /not_achieved, the same as recorded \(not_achieved\)/,
  },
  'a test that the agent added and that helps the others does not help them here either': {
    does: ADDED,
    code: 0,
    says: /not_achieved, the same as recorded/,
    ...FORCED,
  },
  'a test that the agent added and that passes harms nothing': {
    does: `${SOLVE}; cp tests/add.sh tests/b.sh`,
    code: 0,
    says: /: achieved, the same/,
    ...FORCED,
  },
  'a check that depends on the machine may have another verdict here': {
    does: SOLVE,
    code: 1,
    says: /NOT the same as recorded/,
    ...checkedBy(DIFFERENT),
  },
  'a check that fails here without packages that git ignores proves nothing': {
    does: SOLVE,
    code: 3,
    says: /Not in the export.*node_modules/,
    more: IGNORED,
    ...checkedBy('test -f node_modules/a && sh test.sh'),
  },
  'a check that succeeds here without them needs none': {
    does: SOLVE,
    code: 0,
    says: /^(?!.*Not in the export)/s,
    more: IGNORED,
  },
  'an export without the files says what is lacking': {
    does: ONLY_ASKED,
    code: 3,
    says: /Not in the export.*tests\/add\.sh/,
    options: [],
  },
  ...(!isMissing('python3') && {
    'bytecode of the agent is not run here either': {
      does: COMPILED,
      code: 0,
      says: /not_achieved, the same as recorded/,
      more: IN_PYTHON,
      ...checkedBy('python3 tests/run.py'),
    },
  }),
}

test.for(Object.entries(ROWS))('%s', async ([, { does, code, says, ...wanted }], { exported }) => {
  const file = await exported(does, { options: ['--files'], ...wanted })
  const checked = await retrai(['recheck', file])
  expect([checked.code, checked.stdout]).toEqual([code, expect.stringMatching(says)])
})

test('an export that is not there is not checked', async ({ site }) => {
  expect(await retrai(['recheck', site.path('none.tar.gz')])).toMatchObject({ code: 3 })
})
