import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { OwnSecret } from '../domain/mask/own-secrets.ts'
import { sha256 } from '../lib/sha256.ts'
import { CrashAt } from './crash-points.ts'

const trimmed = z.string().trim()
const text = trimmed.min(1, 'must not be empty')
const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, `must be one of ${names.join(', ')}`)
const port = trimmed
  .regex(/^\d+$/, 'must be a port number')
  .transform(Number)
  .pipe(z.int().max(65535, 'must be at most 65535'))
const number = trimmed.regex(/^\d+(\.\d+)?$/, 'must be a number').transform(Number)
const positive = number.pipe(z.number().positive('must be more than 0'))
const positiveInt = number.pipe(z.int('must be a whole number').min(1, 'must be at least 1'))
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1'])

/** Whether who listens there is reached from the same machine only. */
export const isLoopback = (host: string): boolean => LOOPBACK.has(host)

/** Everything that a server can be told, validated: one row for each environment variable. */
const Settings = z.strictObject({
  RETRAI_HOST: text.default('127.0.0.1'),
  RETRAI_PORT: port.default(8000),
  RETRAI_HEALTH_PORT: port.optional(),
  RETRAI_DATA_DIR: text.transform((path) => resolve(path)),
  EVENTSTORE_URL: text
    .regex(/^esdb(\+discover)?:\/\//, 'must be a connection string that begins with esdb://')
    .optional(),
  RETRAI_TOKEN: text.min(16, 'must have at least 16 characters').optional(),
  RETRAI_LOG_LEVEL: oneOf(LOG_LEVELS).default('info'),
  RETRAI_MAX_RUNS_AT_WORK: positiveInt.default(16),
  /** Of all processes of one command; half of the memory of the machine where it is not set. */
  RETRAI_COMMAND_MEMORY_MIB: positiveInt.pipe(z.number().min(64, 'must be at least 64')).optional(),
  RETRAI_COMMAND_OUTPUT_MIB: positiveInt.default(512),
  RETRAI_MAX_COST_USD: positive.optional(),
  RETRAI_MAX_TOKENS: positiveInt.optional(),
  RETRAI_MAX_SECONDS: positive.optional(),
  RETRAI_LEASE_SECONDS: positive
    .pipe(z.number().min(1, 'must be at least 1').max(3_600, 'must be at most 3600'))
    .default(15),
  RETRAI_MAX_CONNECTIONS: positiveInt.default(12_000),
  RETRAI_MAX_CONNECTIONS_PER_CLIENT: positiveInt.default(6_000),
  RETRAI_MAX_SOCKETS: positiveInt.default(10_000),
  RETRAI_MAX_SOCKETS_PER_CLIENT: positiveInt.default(5_000),
  /** As long as a timer of Node can be set, in seconds. */
  RETRAI_SOCKET_STALL_SECONDS: positive
    .pipe(z.number().max(2_000_000, 'must be at most 2000000'))
    .default(60),
  /** 0: no checkpoints are written. */
  RETRAI_CHECKPOINT_SECONDS: number
    .pipe(z.int('must be a whole number').max(86_400, 'must be at most 86400'))
    .default(60),
  RETRAI_ACCESS_LOG: oneOf(['on', 'strict', 'off']).default('on'),
  RETRAI_LLM_BASE_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .optional(),
  RETRAI_LLM_API_KEY: text.optional(),
  ANTHROPIC_API_KEY: text.optional(),
  GEMINI_API_KEY: text.optional(),
  OPENAI_API_KEY: text.optional(),
  OPENAI_BASE_URL: text.optional(),
  OLLAMA_HOST: text.optional(),
  /** For tests: where this server kills itself. Never set it anywhere else. */
  RETRAI_CRASH_AT: CrashAt.optional(),
})
export type Config = Readonly<z.infer<typeof Settings>>

/** The settings that are secrets as a whole, and the addresses that may hold a password. */
const SECRETS = [
  ...(['RETRAI_TOKEN', 'RETRAI_LLM_API_KEY'] as const),
  ...(['ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'OPENAI_API_KEY'] as const),
] satisfies (keyof Config)[]
const ADDRESSES = [
  ...(['EVENTSTORE_URL', 'RETRAI_LLM_BASE_URL', 'OPENAI_BASE_URL', 'OLLAMA_HOST'] as const),
] satisfies (keyof Config)[]

/** The secrets among the settings, each under the name of its variable. */
export function secretsOf(config: Config): OwnSecret[] {
  return [
    ...SECRETS.map((name) => ({ name, value: config[name] ?? '' })),
    ...ADDRESSES.flatMap((name) => {
      const written = /:\/\/[^@/]*?:([^@/]*)@/.exec(config[name] ?? '')?.[1] ?? ''
      return [written, decoded(written)].map((value) => ({ name, value }))
    }),
  ].filter(({ value }) => value !== '')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Where data was by default before: in the folder that a server is started in, which may be a project. */
export const formerDataDir = (): string => resolve('.retrai')

/**
 * The data folder of servers that are started in the working folder: among the data of the user, so that no project
 * has it in it, and named after the working folder, so that each has its own. A folder of before is used while there
 * is no such folder; if there is one, a `.retrai` in the working folder may be anybody's.
 */
function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const own = newDataDir(env)
  const isFormer = ['log.sqlite', 'keys', 'server-id'].some((name) =>
    existsSync(join(formerDataDir(), name)),
  )
  return isFormer && !existsSync(own) ? formerDataDir() : own
}

/** Where a `.retrai` belongs that is in the working folder. */
export function newDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const given = env.XDG_DATA_HOME ?? ''
  const home = isAbsolute(given) ? given : join(homedir(), '.local', 'share')
  const folder = process.cwd()
  const hash = sha256(folder).slice(0, 8)
  const name = basename(folder).replace(/[^\w.-]+/g, '-')
  return join(home, 'retrai', [name, hash].filter(Boolean).join('-'))
}

/** The settings that `retrai serve` takes as flags too, with the variable that each stands for. */
const FLAGS = {
  host: 'RETRAI_HOST',
  port: 'RETRAI_PORT',
  healthPort: 'RETRAI_HEALTH_PORT',
  dataDir: 'RETRAI_DATA_DIR',
  store: 'EVENTSTORE_URL',
  logLevel: 'RETRAI_LOG_LEVEL',
} as const satisfies Record<string, keyof Config>

type Flags = Partial<Record<keyof typeof FLAGS, string>>

const flagOf = (variable: string): string => {
  const flag = Object.entries(FLAGS).find(([, name]) => name === variable)?.[0]
  const kebab = flag?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  return kebab === undefined ? variable : `--${kebab} (${variable})`
}

/**
 * Reads the settings from flags, which win, and the environment. The error is a text for people that
 * names every setting that is wrong.
 */
export function readConfig(
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): Result<Config, string> {
  const given: Record<string, string> = {}
  for (const name of Object.keys(Settings.shape)) {
    // A variable that is set to nothing counts as not set.
    const value = env[name]?.trim()
    if (value) given[name] = value
  }
  for (const [flag, name] of Object.entries(FLAGS)) {
    const value = flags[flag as keyof Flags]
    if (value !== undefined) given[name] = value
  }
  given.RETRAI_DATA_DIR ??= defaultDataDir(env)
  const parsed = Settings.safeParse(given)
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `  ${flagOf(String(path[0]))}: ${message}`,
    )
    return err(`These settings are not valid:\n${problems.join('\n')}`)
  }
  return ok(parsed.data)
}
