import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { text as textOf } from 'node:stream/consumers'
import { type Command, InvalidArgumentError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { Decimal } from '../../api/fields.ts'
import { ALL_KINDS, type Kind } from '../../client/index.ts'
import { present } from '../../domain/present.ts'
import { jsonOr } from '../../lib/json.ts'
import { messageOf } from '../../lib/message-of.ts'
import { io } from './io.ts'

/** A number. The server checks its range. */
function number(text: string): number {
  const value = Decimal.safeParse(text)
  if (value.success) return value.data
  throw new InvalidArgumentError('Give a number in decimal digits.')
}

/** What a person may say about a run that starts or is at work. */
export type ConfigOptions = {
  readonly model?: string
  readonly maxCostUsd?: number
  readonly tag?: readonly string[]
  /** Other fields of the request. */
  readonly set?: object
}

/**
 * The options of commands that start or change a run: those that people use most, and one for all other fields.
 * @param request whose fields that are
 */
export const withConfig = (command: Command, request: { readonly shape: object }): Command =>
  command
    .addHelpText(
      'after',
      `\nFields for --set, which /docs of a server describes:\n${fieldsOf(request)}`,
    )
    .option('--model <name>', 'the model; "retrai models" lists the models')
    .option(
      '--max-cost-usd <dollars>',
      'the most that it may cost: no request is sent whose highest price (nothing cached, the longest reply) would pass it',
      number,
    )
    .option('--tag <tag>', 'a word by which you find the run; may be repeated', repeated)
    .option(
      '--set <field=value>',
      'another field of the request to the API, such as max_iterations=40 or network=pypi.org,preset:npm; its value is a text, names with commas between them, or JSON, and @FILE reads it from a file; may be repeated',
      field,
    )

/** The names of the fields of a request, in lines. */
const fieldsOf = ({ shape }: { readonly shape: object }): string =>
  Object.keys(shape)
    .join(', ')
    .replace(/(.{1,74})(?:(,) |$)/g, '  $1$2\n')

/** The fields of a request that a person gave. The server checks them. */
export const configIn = ({ model, maxCostUsd, tag, set }: ConfigOptions) => ({
  ...present({ model_name: model, max_cost_usd: maxCostUsd, tags: tag }),
  ...set,
})

function field(entry: string, before: object = {}): object {
  const [, name, value = ''] = /^([a-z_]+)=(.*)$/s.exec(entry) ?? []
  if (name === undefined) {
    throw new InvalidArgumentError('Give a field and its value, such as max_tokens=90000.')
  }
  const text = value.startsWith('@') ? fileText(value.slice(1)) : value
  return { ...before, [name]: jsonOr(text, fieldOf(name, text)) }
}

/** Fields that are lists, of which people give the names with commas between them. */
const LISTS = new Set(['fallback_models', 'mcp_servers', 'protect', 'tags', 'workspace_skip'])
const WHOLE_NETWORKS = new Set(['none', 'full'])

/** What a text that is not JSON means. */
function fieldOf(name: string, text: string): unknown {
  const names = text.split(',').map((one) => one.trim())
  if (name === 'network' && !WHOLE_NETWORKS.has(text)) return { allow: names }
  return LISTS.has(name) ? names : text
}

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new InvalidArgumentError(`The file cannot be read: ${messageOf(cause)}`)
  }
}

/** Parses a text of a form. @param advice for another text */
const matching =
  <T>(form: RegExp, advice: string, read: (text: string) => T) =>
  (text: string): T => {
    if (form.test(text)) return read(text)
    throw new InvalidArgumentError(advice)
  }

export const seq = matching(/^\d{1,15}$/, 'Give a seq.', Number)

/** The hash of a call, or its beginning. */
export const callHash = matching(
  /^[0-9a-f]{16,64}$/,
  'Give the hash of the call, or at least its first 16 digits.',
  String,
)

export const positiveInt = matching(
  /^[1-9]\d{0,8}$/,
  'Give a whole number from 1 to 999999999.',
  Number,
)

/** An option that may be given several times. */
export const repeated = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
]

const UNITS = new Map(Object.entries({ s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }))

/** A time such as 90m, 12h or 30d, in seconds. */
export const duration = matching(
  /^[1-9]\d{0,8}[smhdw]$/,
  'Give a time such as 90m, 12h or 30d (s, m, h, d or w).',
  (text) => Number(text.slice(0, -1)) * (UNITS.get(text.slice(-1)) ?? 1),
)

/** The option with "all", or kinds separated by commas. */
export const KINDS = [
  '--kinds <list>',
  '"all", or kinds separated by commas (default the ten common ones; without --json also what is said and decided, and failed requests to models)',
  (text: string): readonly Kind[] =>
    text === 'all' ? ALL_KINDS : someOf(ALL_KINDS, 'Choose "all", or some of')(text),
] as const

export type JsonOption = { readonly json?: boolean }

/** Which events are printed, and how. */
export type ShownEvents = JsonOption & { readonly from: number; readonly kinds?: readonly Kind[] }

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
