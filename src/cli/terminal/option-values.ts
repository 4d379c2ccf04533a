import { readFile } from 'node:fs/promises'
import { text as textOf } from 'node:stream/consumers'
import { type Command, InvalidArgumentError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { Decimal } from '../../api/fields.ts'
import { ALL_KINDS, type Kind, type RunRequest } from '../../client/index.ts'
import { messageOf } from '../../lib/message-of.ts'
import { io } from './io.ts'

/** What a person gave: the object without what is undefined. */
export const given = <T extends object>(values: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/** A number. The server checks its range. */
export function number(text: string): number {
  const value = Decimal.safeParse(text)
  if (value.success) return value.data
  throw new InvalidArgumentError('Give a number in decimal digits.')
}

type Limit = number | 'none' | undefined
/** The limits of a run besides that of iterations, as a person gave them. */
export type LimitOptions = {
  readonly maxCostUsd?: Limit
  readonly maxTokens?: Limit
  readonly maxSeconds?: Limit
}

const limit = (text: string): Limit => (text === 'none' ? text : number(text))
const orNull = (wanted: Limit) => (wanted === 'none' ? null : wanted)

/** The same, as the server reads them. */
export const limitsIn = ({ maxCostUsd, maxTokens, maxSeconds }: LimitOptions) => ({
  max_cost_usd: orNull(maxCostUsd),
  max_tokens: orNull(maxTokens),
  max_seconds: orNull(maxSeconds),
})

export const limitOptions = (command: Command): Command =>
  command
    .option(
      '--max-cost-usd <dollars>',
      'the most that it may cost, or none: no request is sent whose highest price (nothing cached, the longest reply) would pass it',
      limit,
    )
    .option('--max-tokens <n>', 'the most tokens it may use, or none', limit)
    .option('--max-seconds <n>', 'the longest that it may work, or none', limit)

/** Whether a text is a seq, or -1, which means before the first record. */
export const isSeq = (text: string): boolean => /^(-1|\d{1,15})$/.test(text)

export function seq(text: string): number {
  if (!isSeq(text)) throw new InvalidArgumentError('Give a seq, or -1.')
  return Number(text)
}

/** The hash of a call, or its beginning. */
export function callHash(text: string): string {
  if (!/^[0-9a-f]{16,64}$/.test(text)) {
    throw new InvalidArgumentError('Give the hash of the call, or at least its first 16 digits.')
  }
  return text
}

export function positiveInt(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new InvalidArgumentError('Give a whole number from 1 to 999999999.')
  return Number(text)
}

/** Names separated by commas. */
export function names(text: string): readonly string[] {
  const found = text.split(',').map((name) => name.trim())
  if (found.includes('')) throw new InvalidArgumentError('Give names with commas between them.')
  return found
}

/** An option that may be given several times. */
export const repeated = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
]

/** Rules for calls, from a JSON file. The server checks what they say. */
export async function rulesFrom(
  path: string | undefined,
): Promise<Result<RunRequest['approvals'], string>> {
  if (path === undefined) return ok(undefined)
  try {
    return ok(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    return err(`${path} is not a JSON file with rules: ${messageOf(cause)}`)
  }
}

/** What commands reach: "none", "full", or hosts and presets separated by commas. The server checks them. */
export function network(text: string): NonNullable<RunRequest['network']> {
  if (text === 'none' || text === 'full') return text
  const allow = text.split(',').map((entry) => entry.trim())
  if (!allow.includes('')) return { allow }
  throw new InvalidArgumentError('Give none, full, or hosts with commas between them.')
}

/** MCP servers: names with commas between them, or a list in JSON. The server checks what it says. */
export function mcpServers(text: string): NonNullable<RunRequest['mcp_servers']> {
  if (!text.trim().startsWith('[')) return [...names(text)]
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new InvalidArgumentError(`It is not JSON: ${messageOf(cause)}`)
  }
}

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 } as const

/** A time such as 90m, 12h or 30d, in seconds. */
export function duration(text: string): number {
  const [, count = '', unit] = /^([1-9]\d{0,8})([smhdw])$/.exec(text) ?? []
  const known = Object.entries(UNITS).find(([name]) => name === unit)
  if (known !== undefined) return Number(count) * known[1]
  throw new InvalidArgumentError('Give a time such as 90m, 12h or 30d (s, m, h, d or w).')
}

/** The option with "all", or kinds separated by commas. */
export const KINDS = [
  '--kinds <list>',
  '"all", or kinds separated by commas (default the ten common ones; without --json also what is said, and failed requests to models)',
  (text: string): readonly Kind[] =>
    text === 'all' ? ALL_KINDS : someOf(ALL_KINDS, 'Choose "all", or some of')(text),
] as const

export type JsonOption = { readonly json?: boolean }

export const JSON_LINES = ['--json', 'print each as JSON, one a line'] as const

export const JSON_EVENTS = ['--json', 'print each event as JSON, one a line'] as const

export const DATA_DIR = ['--data-dir <folder>', 'the data folder (default: as for serve)'] as const

/** Parses names separated by commas. @param advice begins the sentence about other names */
export const someOf =
  <T extends string>(all: readonly T[], advice = 'Choose some of') =>
  (text: string): readonly T[] =>
    text.split(',').map((name) => {
      const found = all.find((known) => known === name.trim())
      if (found !== undefined) return found
      throw new InvalidArgumentError(`${advice} ${all.join(', ')}.`)
    })

/** What a person says in an option or a file ("-" is the standard input); null if it is neither. */
export async function wordsOf({
  text,
  file,
}: {
  readonly text?: string | undefined
  readonly file?: string | undefined
}): Promise<Result<string | null, string>> {
  if (text !== undefined && file !== undefined) return err('Give a text or a file, not both.')
  if (file === undefined) return ok(text ?? null)
  try {
    return ok(file === '-' ? await textOf(io().stdin) : await readFile(file, 'utf8'))
  } catch (cause) {
    return err(`The file cannot be read: ${messageOf(cause)}`)
  }
}
