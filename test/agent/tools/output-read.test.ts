import { expect, test } from 'vitest'
import { projectWith } from './support.ts'

/** A run with a long output that no other run has. */
async function longOutput() {
  const { run: call, artifacts } = await projectWith()
  const owners = new Map<string, string>()
  const run = (runId: string, tool: string, args: Readonly<Record<string, string | number>>) =>
    call(tool, args, undefined, {
      runId,
      openOutput: async (sha256) => (owners.get(sha256) === runId ? artifacts.read(sha256) : null),
    })
  const command = 'seq 1 5000; echo "Error: grün"; seq 5001 10000'
  const { output, sha256 } = await run('mine', 'bash_exec', { command })
  /** Makes the run the owner of an artifact. */
  const keep = (name: string | null): string => {
    owners.set(name ?? '', 'mine')
    return name ?? ''
  }
  return { run, artifact: keep(sha256), keep, output }
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

test('an output in the log is read by the call that made it', async () => {
  const { run } = await projectWith()
  const first = await run('bash_exec', { command: 'seq 1 300' })
  const resultOf = (id: string) => (id === 'first' ? first : null)
  const read = (args: Readonly<Record<string, string>>) =>
    run('output_read', args, undefined, { resultOf })
  expect(await read({ call_id: 'first', pattern: '299' })).toMatchObject({
    outcome: 'ok',
    output: '299\t299',
  })
  expect(await read({ call_id: 'other' })).toMatchObject({ outcome: 'error' })
  expect(await read({})).toMatchObject({
    outcome: 'rejected',
    output: expect.stringContaining('give "artifact" or "call_id"'),
  })
})

test('a search finds lines by a pattern, whatever their case, and leaves out what is too much', async () => {
  const { run, artifact } = await longOutput()
  const search = async (wanted: Readonly<Record<string, string>>) =>
    (await run('mine', 'output_read', { artifact, ...wanted })).output
  expect(await search({ pattern: 'error:|^9{4}$' })).toBe('5001\tError: grün\n10000\t9999')
  expect(await search({ pattern: 'error: GR' })).toBe('5001\tError: grün')
  expect(await search({ pattern: '^none$' })).toBe('No line matches.')
  expect(await search({ pattern: '1' })).toMatch(/\n\[… \d+ of \d+ bytes are left out here; /)
  expect(await search({ pattern: 'a(' })).toMatch(/^grep: /)
  expect(await search({ pattern: '(.{1,30000}){1,30000}' })).toMatch(/needs more memory|^grep: /)
})

test('a long line is cut, with the number of omitted characters, and the rest can be read by column', async () => {
  const { run, keep } = await longOutput()
  const word = 'grün'
  const command = `printf '${word}%.0s' {1..10000}; echo; echo short`
  const cut = await run('mine', 'bash_exec', { command })
  const line = word.repeat(10_000)
  const note = '[… 38000 more characters of this line are left out]'
  expect(cut).toMatchObject({ outcome: 'ok', truncated: true, bytes: 50_007 })
  expect(cut.output).toBe(
    `${line.slice(0, 2000)} ${note}\nshort\n[The whole is kept as artifact ${cut.sha256}: output_read reads or searches it.]`,
  )
  const artifact = keep(cut.sha256)
  const read = async (args: Readonly<Record<string, string | number>>) =>
    (await run('mine', 'output_read', { artifact, ...args })).output
  expect(await read({})).toBe(`1\t${line.slice(0, 2000)} ${note}\n2\tshort`)
  expect(await read({ column: 38_002, limit: 1 })).toContain(`1\t${line.slice(38_001)}`)
  expect(await read({ pattern: 'SHORT' })).toBe('2\tshort')
  const [found = ''] = (await read({ pattern: 'rüng' })).split('\n')
  expect(found).toMatch(/^1\tgrün/)
  const [, left] = /\[… (\d+) more characters of this line are left out\]$/.exec(found) ?? []
  const shown = found.replace(/ \[….*/, '').replace('1\t', '1:').length
  expect(Number(left)).toBe(40_000 + 2 - shown)
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
