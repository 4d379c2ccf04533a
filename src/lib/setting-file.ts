import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import { parse } from 'yaml'
import type * as z from 'zod'
import { messageOf } from './message-of.ts'

/**
 * Reads a file that a setting names, in YAML or JSON, which YAML contains. The error is a text for people that names the
 * setting, the file, and the place of each mistake in it.
 */
export async function readSettingFile<T>(
  setting: string,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, string>> {
  const problem = (what: string) => err(`${setting}: the file ${path} ${what}`)
  let content: unknown
  try {
    content = parse(await readFile(path, 'utf8'), { logLevel: 'error' })
  } catch (cause) {
    return problem(`cannot be read: ${messageOf(cause)}`)
  }
  const file = schema.safeParse(content)
  if (file.success) return ok(file.data)
  const mistakes = file.error.issues.map((issue) => {
    const inKey = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined
    return `  ${issue.path.map(String).join('.') || 'it'}: ${inKey ?? issue.message}`
  })
  return problem(`is not valid:\n${mistakes.join('\n')}`)
}
