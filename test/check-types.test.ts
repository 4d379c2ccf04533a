import ts from 'typescript'
import { expect, test } from 'vitest'
import { unreadResults } from '../tools/check-types.ts'

/** The lines of a source, from 1, in which a Result is found that nobody reads. */
function reportedLines(lines: readonly string[]): number[] {
  const file = `${process.cwd()}/test/sample.ts`
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2024,
    module: ts.ModuleKind.NodeNext,
    types: [],
    strict: true,
  }
  const host = ts.createCompilerHost(options)
  const read = host.getSourceFile.bind(host)
  host.getSourceFile = (name, ...rest) =>
    name === file
      ? ts.createSourceFile(name, lines.join('\n'), options.target ?? 99, true)
      : read(name, ...rest)
  const program = ts.createProgram([file], options, host)
  expect(ts.getPreEmitDiagnostics(program).map(({ messageText }) => messageText)).toEqual([])
  return unreadResults(program).map(({ file: source, start = 0 }) => {
    if (source === undefined) throw new Error('every Result is in a file')
    return source.getLineAndCharacterOfPosition(start).line + 1
  })
}

const DECLARATIONS = [
  "import type { Result, ResultAsync } from 'neverthrow'",
  'type Answer = Result<number, string>',
  'declare const now: () => Answer, soon: () => Promise<Answer>, later: () => ResultAsync<number, string>',
  'declare const call: (act: () => void) => void, store: { append?: () => Promise<Answer> }',
  'type Json = string | Json[]; declare const json: () => Json',
]

test('a Result that nobody reads is reported, however it is dropped, and one that is read, kept or returned is not', () => {
  const dropped = [
    'now()',
    'await soon()',
    'await later()',
    'void later()',
    'void soon().catch(() => {})',
    'await Promise.all([soon(), later()])',
    'await store.append?.()',
    'json() && now()',
    'call(() => now())',
    'call(async () => { await 0; return now() })',
    'call(later)',
    'const act: () => void = () => soon()',
  ]
  const read = [
    'if (now().isErr()) call(() => {})',
    'const kept = await soon(); String(kept.map(String))',
    'let last: Answer | undefined; last = now(); call(() => { last = now() })',
    'now().match(() => {}, () => {})',
    'call(() => { later().mapErr(String).match(() => {}, () => {}) })',
    'export const again = (): Promise<Answer> => soon()',
    'json()',
  ]
  const every = dropped.map((_, index) => DECLARATIONS.length + index + 1)
  expect(reportedLines([...DECLARATIONS, ...dropped, ...read])).toEqual(every)
})
