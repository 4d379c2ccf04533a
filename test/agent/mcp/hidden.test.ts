import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hiddenFrom } from '../../../src/agent/mcp/run-servers.ts'
import type { IsolationPolicy } from '../../../src/domain/isolation.ts'
import type { RunState } from '../../../src/domain/state.ts'

/** What a run sees of a folder with a program. */
async function programIn(level: IsolationPolicy['level'], visible = (_: string): string[] => []) {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-hidden-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'server.js')
  await writeFile(file, '')
  const run = {
    config: { cwd: '/project' },
    isolation: { level, visible: ['project', 'system:/usr', ...visible(folder)] },
  } as unknown as RunState
  const why = (problem: string, args = [file]): string =>
    hiddenFrom({ command: 'node', args }, problem, run)
  return { folder, file, why }
}

test('a program that exists but is hidden by the isolation is named, with the setting that shows it', async () => {
  const { folder, file, why } = await programIn('namespaces')
  expect(why('It ended with exit code 1.')).toContain(`${file} exists, but the isolation`)
  expect(why('It ended with exit code 1.')).toContain(`Add ${folder} to RETRAI_TOOL_PATHS`)
  expect(why(`Error: Cannot find module '${file}'`, ['start.js'])).toContain('RETRAI_TOOL_PATHS')
})

test('nothing is added if the program is visible or does not exist, or if nothing is hidden', async () => {
  const shown = await programIn('landlock', (folder) => [`tools:${folder}`])
  expect(shown.why('It ended.')).toBe('')
  const open = await programIn('none')
  expect(open.why('It ended.')).toBe('')
  const { why } = await programIn('namespaces')
  expect(why('It ended.', ['/no/such/file', '--flag=/usr/bin/env', 'https://example.org/a'])).toBe(
    '',
  )
})
