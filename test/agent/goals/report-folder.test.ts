import { execFileSync } from 'node:child_process'
import { stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readReport, withReportFolder } from '../../../src/agent/goals/report-folder.ts'
import { project } from './support.ts'

const TOKEN = `ghp_${'Ab3dEf6hIj'.repeat(4)}`

test('a report is read with its secrets masked, also if a secret is split between two pieces', async () => {
  const folder = await project({})
  const path = join(folder, 'junit.xml')
  await writeFile(path, `${'é'.repeat(131_060)}${TOKEN} the end`)
  const text = (await readReport(path))._unsafeUnwrap()
  expect(text).toBe(`${'é'.repeat(131_060)}[masked:github-token] the end`)
})

test('a missing or empty file is not a report', async () => {
  const folder = await project({ 'empty.xml': '' })
  for (const name of ['empty.xml', 'none.xml']) {
    expect((await readReport(join(folder, name)))._unsafeUnwrap()).toBeNull()
  }
})

test('a report that is not a file, is a link to elsewhere, or is too large is not read', async () => {
  const folder = await project({ 'large.xml': '' })
  const elsewhere = await project({ 'secret.xml': 'a secret' })
  await symlink(join(elsewhere, 'secret.xml'), join(folder, 'link.xml'))
  await truncate(join(folder, 'large.xml'), 17 * 1024 * 1024)
  execFileSync('sh', ['-c', 'mkfifo pipe.xml'], { cwd: folder })
  const problem = async (name: string) => (await readReport(join(folder, name)))._unsafeUnwrapErr()
  expect(await problem('pipe.xml')).toContain('is not a regular file')
  expect(await problem('link.xml')).toContain('is not a regular file')
  expect(await problem('large.xml')).toContain('more than 16777216 bytes')
})

test('only this user can read the folder of a check, and it is removed after the check', async () => {
  const reportsDir = join(await project({}), 'checks')
  let folder = ''
  const verdict = { verdict: 'achieved' as const, reason: '', details: '' }
  await withReportFolder(reportsDir, async (lent) => {
    folder = lent
    for (const path of [reportsDir, lent]) expect((await stat(path)).mode & 0o777).toBe(0o700)
    return verdict
  })
  await expect(stat(folder)).rejects.toThrow('ENOENT')
})
