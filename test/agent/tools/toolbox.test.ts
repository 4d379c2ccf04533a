import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { recordedOutput } from '../../../src/agent/tools/recorded-output.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import type { RunCommand } from '../../../src/runner/command.ts'
import { Workspace } from '../../../src/workspace/workspace.ts'
import { startProcess } from '../../runner/support.ts'
import { BARE } from './bare-call.ts'
import { projectWith } from './support.ts'

const INLINE_BYTES = 32_768

/** A command that prints this text and succeeds. */
const printing =
  (output: string): RunCommand =>
  async () => {
    const bytes = Buffer.byteLength(output)
    const end = 'exited' as const
    return { end, exitCode: 0, stdout: output, stderr: '', output, bytes, durationMs: 1 }
  }

describe('the toolbox', () => {
  test('runs a call that only reads again after the death of its process, and is never in doubt about it', async () => {
    const { cwd, artifacts } = await projectWith({ 'a.txt': 'word\n' })
    let deaths = 0
    await using workspace = new Workspace({ cwd }, (request) => {
      deaths -= 1
      return startProcess({ ...request, ...(deaths >= 0 && { args: ['-e', ''] }) })
    })
    const nothing = { stdout: '', stderr: '', output: '', bytes: 0, durationMs: 1 }
    const runCommand: RunCommand = async () => ({ end: 'lost', exitCode: null, ...nothing })
    const toolbox = createToolbox({ runCommand, artifacts })
    const context = { ...BARE, cwd, workspace, signal: new AbortController().signal }
    const run = (tool: string, args: object, read_only: boolean) =>
      toolbox.execute({ call_id: 'c', tool, args: { ...args }, read_only }, context)
    const grep = () => run('grep_search', { pattern: 'word', path: 'a.txt' }, true)
    deaths = 2
    expect(await grep()).toMatchObject({
      outcome: 'error',
      output: expect.stringContaining('This call only reads'),
    })
    deaths = 1
    expect(await grep()).toMatchObject({ outcome: 'ok' })
    expect(await run('bash_exec', { command: 'ls' }, false)).toMatchObject({ outcome: 'unknown' })
  })

  test('describes each tool by a closed JSON Schema of an object', async () => {
    const { toolbox } = await projectWith()
    for (const { description, parameters } of toolbox.specs) {
      expect(description).not.toBe('')
      expect(parameters).toMatchObject({ type: 'object', additionalProperties: false })
    }
  })

  test.each(['file_shred', 'constructor'])('rejects %s, which does not exist', async (name) => {
    const { run } = await projectWith()
    const output = expect.stringContaining(`"${name}"`)
    expect(await run(name, { path: 'a' })).toMatchObject({ outcome: 'rejected', output })
  })

  test.each([
    ['{"path": "a', 'not a JSON object: Unterminated string in JSON at position 11'],
    ['{"path": "a\nb"}', 'Bad control character in string literal in JSON at position 11'],
    ['[1]', 'not a JSON object.'],
  ])('rejects arguments that were %s, and says where', async (raw_args, words) => {
    const { execute } = await projectWith()
    const call = { call_id: 'c', tool: 'file_read', args: {}, raw_args, read_only: true }
    const output = expect.stringContaining(words)
    const rejected = { outcome: 'rejected', exit_code: null, call_id: 'c', output }
    expect(await execute(call)).toMatchObject(rejected)
  })

  test('takes null for an argument that may be left out', async () => {
    const { run } = await projectWith({ 'a.txt': 'a\n' })
    const result = await run('file_read', { path: 'a.txt', offset: null })
    expect(result).toMatchObject({ outcome: 'ok', output: '1\ta' })
  })

  const artifact = 'a'.repeat(64)
  const edit = { old: 'a', new: 'b' }
  const WRONG: Readonly<Record<string, readonly object[]>> = {
    bash_exec: [
      { command: '' },
      { command: 'a\0b' },
      { command: ['ls'] },
      { command: 'ls', cwd: '/' },
      ...[0, 3601, '10'].map((timeout_s) => ({ command: 'ls', timeout_s })),
    ],
    file_read: [
      { path: '' },
      { path: 'a\0b' },
      { path: 'a', offset: 0 },
      { path: 'a', limit: 1.5 },
    ],
    file_patch: [{}, { old: 'a' }, { new: 'b' }, { edits: [] }, { ...edit, edits: [edit] }].map(
      (args) => ({ path: 'a', ...args }),
    ),
    output_read: [
      { artifact: 'x' },
      { artifact, pattern: '' },
      { artifact, pattern: 'a', limit: 1 },
    ],
  }
  test('rejects arguments that are not valid, and names every problem', async () => {
    const { run } = await projectWith({ a: 'a' })
    for (const [tool, all] of Object.entries(WRONG)) {
      for (const args of all) {
        const result = await run(tool, { ...args })
        expect(result, tool).toMatchObject({ outcome: 'rejected', exit_code: null })
      }
    }
    const { output } = await run('file_write', { path: 7, extra: true })
    for (const name of ['path', 'content', '"extra"']) expect(output).toContain(name)
  })

  test('turns every exception in a tool into an error', async () => {
    const runCommand: RunCommand = () => Promise.reject(new Error('it broke'))
    const { run } = await projectWith({}, { runCommand })
    const broken = { outcome: 'error', exit_code: 1, output: 'bash_exec failed: it broke' }
    expect(await run('bash_exec', { command: 'true' })).toMatchObject(broken)
  })

  test('runs nothing for an aborted run', async () => {
    const { run } = await projectWith()
    const write = await run('file_write', { path: 'a', content: 'a' }, AbortSignal.abort())
    expect(write).toMatchObject({ outcome: 'aborted', exit_code: null })
    expect((await run('file_list')).output).toBe('The folder is empty.')
  })
})

test('the long output of a command that is stopped with its run is not kept, because no record names it', async () => {
  const abort = new AbortController()
  const runCommand: RunCommand = async (command) => {
    abort.abort()
    return printing('secret\n'.repeat(INLINE_BYTES))(command)
  }
  const { run, artifacts } = await projectWith({}, { runCommand })
  const put = vi.spyOn(artifacts, 'put')
  const result = await run('bash_exec', { command: 'print' }, abort.signal)
  expect(result).toMatchObject({ truncated: true, sha256: null })
  expect(put).not.toHaveBeenCalled()
})

const longText = fc
  .array(fc.constantFrom('abc', '\n', 'é', '€', '😀', '\u0000', '\ud83d', 'e\u0301'), {
    minLength: 100,
    maxLength: 400,
  })
  .chain((parts) => fc.integer({ min: 1, max: 200 }).map((times) => parts.join('').repeat(times)))

describe('output', () => {
  test('that is too long for a record is cut to head and tail in whole characters, and stored as an artifact', async () => {
    let whole = ''
    const runCommand: RunCommand = (command) => printing(whole)(command)
    const { run, artifacts } = await projectWith({}, { runCommand })
    await fc.assert(
      fc.asyncProperty(longText, async (printed) => {
        // As the runner decodes what a command prints.
        whole = printed.toWellFormed()
        const result = await run('bash_exec', { command: 'print' })
        expect(result.bytes).toBe(Buffer.byteLength(whole))
        expect(Buffer.byteLength(result.output)).toBeLessThanOrEqual(INLINE_BYTES)
        expect(result.output.isWellFormed()).toBe(true)
        expect(result.truncated).toBe(result.bytes > INLINE_BYTES)
        if (!result.truncated) {
          expect(result).toMatchObject({ output: whole, sha256: null })
          return
        }
        const marker =
          /\n\[… (\d+) of (\d+) bytes are left out here; .* ([0-9a-f]{64}): output_read reads or searches it …\]\n/
        const [head = '', leftOut, total, named, tail = ''] = result.output.split(marker)
        expect(whole.startsWith(head)).toBe(true)
        expect(whole.endsWith(tail)).toBe(true)
        const shown = Buffer.byteLength(head) + Buffer.byteLength(tail)
        expect(shown + Number(leftOut)).toBe(result.bytes)
        expect(shown).toBeGreaterThan(INLINE_BYTES - 300)
        expect(Number(total)).toBe(result.bytes)

        expect(named).toBe(result.sha256)
        expect(result.sha256).toBe(createHash('sha256').update(whole).digest('hex'))
        const artifact = await artifacts.read(result.sha256 ?? '')
        expect(artifact && (await text(artifact.stream))).toBe(whole)
      }),
      { numRuns: 60 },
    )
  })

  test.each([
    ['the only line', '', ''],
    ['the first line', '', '\nshort'],
    ['the last line', 'short\n', ''],
    ['a line between others', 'short\n\n', '\n\nshort'],
  ])('cuts %s only beyond 2,120 characters', async (_, before, after) => {
    const artifacts = { put: async () => 'a'.repeat(64) }
    const outcome = { outcome: 'ok', exitCode: 0 } as const
    const recorded = (characters: number) => {
      const output = `${before}${'x'.repeat(characters)}${after}`
      return recordedOutput({ ...outcome, output }, artifacts, true)
    }
    expect(await recorded(2_120)).toMatchObject({ truncated: false, sha256: null })
    const { output, truncated } = await recorded(2_121)
    const cut = `${'x'.repeat(2_000)} [… 121 more characters of this line are left out]`
    expect(output.startsWith(`${before}${cut}${after}\n`)).toBe(true)
    expect(truncated).toBe(true)
  })

  test('that cannot be stored is shortened too, with a note', async () => {
    const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    const artifacts = { put: () => Promise.reject(full) }
    const runCommand = printing('x\n'.repeat(20_000))
    const { run } = await projectWith({}, { runCommand, artifacts })
    const result = await run('bash_exec', { command: 'x' })
    expect(result).toMatchObject({ outcome: 'ok', bytes: 40_000, truncated: true, sha256: null })
    expect(result.output).toContain('the whole could not be kept (ENOSPC)')
  })
})
