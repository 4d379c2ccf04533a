import { join } from 'node:path'
import ts from 'typescript'

/** The types of the installed SDKs that describe the bodies of requests. */
export const VENDOR_TYPES = {
  chat: `import('openai/resources/chat/completions').ChatCompletionCreateParamsStreaming`,
  responses: `import('openai/resources/responses/responses').ResponseCreateParamsStreaming`,
  messages: `import('@anthropic-ai/sdk/resources/messages').MessageCreateParamsStreaming`,
} as const

/**
 * What the compiler has against these bodies, with the vendors' own types as the contract: a literal may have no
 * property that its type does not name. One list of messages for each body.
 */
export function complaintsOf(
  bodies: readonly { readonly type: string; readonly body: unknown }[],
): string[][] {
  const file = join(import.meta.dirname, 'bodies-to-check.ts')
  const lines = bodies.map(
    ({ type, body }, index) => `export const b${index}: ${type} = ${JSON.stringify(body)}`,
  )
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    target: ts.ScriptTarget.ES2024,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (name) => name === file || fileExists.call(host, name)
  host.readFile = (name) => (name === file ? lines.join('\n') : readFile.call(host, name))
  host.getSourceFile = (name, languageVersion, ...rest) =>
    name === file
      ? ts.createSourceFile(name, lines.join('\n'), languageVersion)
      : getSourceFile.call(host, name, languageVersion, ...rest)
  const program = ts.createProgram({ rootNames: [file], options, host })
  const found: string[][] = bodies.map(() => [])
  for (const { start, file: source, messageText } of ts.getPreEmitDiagnostics(program)) {
    const text = ts.flattenDiagnosticMessageText(messageText, '\n')
    if (source?.fileName !== file || start === undefined) throw new Error(text)
    found[source.getLineAndCharacterOfPosition(start).line]?.push(text)
  }
  return found
}
