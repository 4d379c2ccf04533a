import { chmod, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { retrai } from '../cli/support.ts'
import { bash, printed, type Site, type SiteServer, writeFiles } from '../support/site.ts'
import { test } from '../support/test.ts'

const SOLVE = "echo 'echo $(($1 + $2))' > add.sh"
const ONLY_ASKED = 'echo echo 3 > add.sh'
const CHEAT = "sed -i 's/= 3/= 0/' tests/add.sh"
const FILES = {
  'add.sh': 'echo 0\n',
  'test.sh': 'for one in tests/*.sh; do sh "$one" || exit 1; done\n',
  'tests/add.sh': 'test "$(sh add.sh 1 2)" = 3\n',
}
const check = { command: 'sh test.sh' }

/** An export of a run that does this, of which nothing else is left. */
async function exported(
  site: Site,
  command: string,
  {
    options = [],
    changes = {},
    more = {},
  }: {
    options?: readonly string[]
    changes?: object
    more?: Readonly<Record<string, string>>
  } = {},
): Promise<string> {
  const model = await site.model([bash(command), { text: 'Done.' }])
  const server: SiteServer = await site.serve('data', { model })
  const cwd = await site.project('project')
  await writeFiles(cwd, { ...FILES, ...more })
  for (const path of Object.keys(more)) await chmod(join(cwd, path), 0o755)
  const runId = await server.start('project', { check, max_turns_per_iteration: 5, ...changes })
  await server.untilStatus(runId, 'achieved')
  const file = site.path('run.tar.gz')
  await printed(['export', runId, file, '--server', server.url, ...options])
  await server.stop()
  for (const gone of [cwd, site.path('data')]) await rm(gone, { recursive: true })
  return file
}

test('an auditor without the project checks an honest run again, and gets the same verdict', async ({
  site,
}) => {
  const accept = { files: { 'more.sh': 'test "$(sh add.sh 20 3)" = 23\n' }, command: 'sh more.sh' }
  const file = await exported(site, SOLVE, { options: ['--files'], changes: { accept } })
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
  site,
}) => {
  const more = { '.venv/bin/python': PYTHON }
  const file = await exported(site, SOLVE, { options: ['--files'], more })
  const { stdout } = await retrai(['recheck', file])
  expect(stdout).toMatch(
    /Programs here: bash \d[^ ]*, .*python3 3\.9\.2 \(recorded: 3\.9\.1\+local\)/,
  )
  const { programs } = JSON.parse((await retrai(['recheck', file, '--json'])).stdout)
  const python = { name: 'python3', recorded: '3.9.1+local', here: '3.9.2' }
  expect(programs).toEqual(expect.arrayContaining([python]))
})

test('a run that edited a test does not pass with the original one here either', async ({
  site,
}) => {
  const file = await exported(site, CHEAT, { options: ['--files'] })
  const { code, stdout } = await retrai(['recheck', file])
  expect(code).toBe(0)
  expect(stdout).toContain('not_achieved, the same as recorded (not_achieved)')
})

test('a check that depends on the machine may have another verdict here', async ({ site }) => {
  const inProject = 'case $PWD in *recheck*) exit 1 ;; *) sh test.sh ;; esac'
  const changes = { check: { command: inProject } }
  const file = await exported(site, SOLVE, { options: ['--files'], changes })
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([1, expect.stringContaining('NOT the same as recorded')])
})

test('an export without the files says what is lacking, and one that was altered is not checked', async ({
  site,
}) => {
  const file = await exported(site, ONLY_ASKED)
  const { code, stdout } = await retrai(['recheck', file])
  expect([code, stdout]).toEqual([3, expect.stringMatching(/Not in the export.*tests\/add\.sh/)])
  expect(await retrai(['recheck', site.path('none.tar.gz')])).toMatchObject({ code: 3 })
})
