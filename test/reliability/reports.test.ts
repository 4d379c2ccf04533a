import { access, chmod, mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { kill, linesOf, Site, start, until, untilReady } from './support.ts'

const SECRET = 'ghp_Ab3dEf6hIj9lMn2pQr5tUv8xYz1Ab3dEf6hI'

/** A project with a "pytest" that writes a report with a secret, notes where, and does not end by itself. */
async function endlessProject(site: Site): Promise<string> {
  await site.write('project/.keep', '')
  await site.write(
    'project/.venv/bin/python',
    `#!/bin/sh
for arg in "$@"; do
  case $arg in --junitxml=*) report=\${arg#--junitxml=} ;; esac
done
echo '<testsuite>${SECRET}' > "$report"
echo "$report" >> '${site.path('reports')}'
exec sleep 600
`,
  )
  await chmod(site.path('project/.venv/bin/python'), 0o755)
  return site.path('project')
}

test('the report of a check that a kill -9 interrupts is in the data folder, and gone after the next start', async () => {
  await using site = await Site.open()
  const model = await site.model(() => ({ text: 'It is done.' }))
  const cwd = await endlessProject(site)
  await mkdir(site.path('tmp'))
  const env = { TMPDIR: site.path('tmp') }
  const reports = (count: number): Promise<string[]> =>
    until(
      () => linesOf(site.path('reports')),
      (lines) => lines.length === count,
    )
  const serve = () => site.serve('data', { model: model.url, env })

  const server = await serve()
  await start(server, cwd, { goal: 'pytest' })
  const [report = ''] = await reports(1)
  await kill(server)
  expect(await readFile(report, 'utf8')).toContain(SECRET)
  expect(dirname(dirname(report))).toBe(site.path('data/checks'))

  const next = await serve()
  await untilReady(next)
  await expect(access(dirname(report))).rejects.toThrow('ENOENT')
  // The check runs again in its own folder, which is removed when the server stops.
  const [, again = ''] = await reports(2)
  expect(dirname(again)).not.toBe(dirname(report))
  await next.stop()
  expect(await readdir(site.path('data/checks'))).toEqual([])
  expect((await readdir(site.path('tmp'))).filter((name) => name.includes('retrai'))).toEqual([])
})
