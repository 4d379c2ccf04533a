import { expect, test } from 'vitest'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { projectWith } from './support.ts'

/** A run with a long output, which another run has not. */
async function longOutput() {
  const { cwd, artifacts } = await projectWith()
  const owners = new Map<string, string>()
  const toolbox = createToolbox({
    ...{ runCommand, artifacts, dataDir: null, scratchDir: cwd },
    openOutput: async (runId, sha256) =>
      owners.get(sha256) === runId ? artifacts.read(sha256) : null,
  })
  const run = (runId: string, tool: string, args: Readonly<Record<string, string | number>>) =>
    toolbox.execute(
      { call_id: 'c', tool, args, read_only: true },
      { cwd, runId, signal: new AbortController().signal },
    )
  const command = 'seq 1 5000; echo "Error: grün"; seq 5001 10000'
  const { output, sha256 } = await run('mine', 'bash_exec', { command })
  const artifact = sha256 ?? ''
  owners.set(artifact, 'mine')
  return { run, artifact, output }
}

test('a shortened result names the tool, which reads the whole output by lines', async () => {
  const { run, artifact, output } = await longOutput()
  expect(output).toContain(`kept as artifact ${artifact}: output_read reads or searches it`)
  const read = await run('mine', 'output_read', { artifact, offset: 5000, limit: 3 })
  expect(read).toMatchObject({
    outcome: 'ok',
    output:
      '5000\t5000\n5001\tError: grün\n5002\t5001\n[Lines 5000 to 5002 of 10001. Continue with offset 5003.]',
  })
})

test('a search finds lines by a text, in any case, and counts those that it leaves out', async () => {
  const { run, artifact } = await longOutput()
  const search = async (pattern: string) =>
    (await run('mine', 'output_read', { artifact, pattern })).output
  expect(await search('error:|9999')).toBe('5001\tError: grün\n10000\t9999')
  expect(await search('nothing|of this')).toBe('No line holds that text.')
  expect(await search('1')).toMatch(/\n\[\d+ of 3440 lines with it are left out\. .*\]$/)
})

test('only the outputs of its own run are read', async () => {
  const { run, artifact } = await longOutput()
  for (const [runId, name] of [
    ['other', artifact],
    ['mine', 'a'.repeat(64)],
  ] as const) {
    const result = await run(runId, 'output_read', { artifact: name })
    expect(result).toMatchObject({ outcome: 'error' })
    expect(result.output).toContain('No result of this run')
  }
})

test.each([{ artifact: 'x' }, { artifact: 'a'.repeat(64), pattern: '|' }])(
  'arguments are checked: %j',
  async (args) => {
    const { run } = await longOutput()
    expect(await run('mine', 'output_read', args)).toMatchObject({ outcome: 'rejected' })
  },
)
