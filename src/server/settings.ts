import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import * as z from 'zod'
import { Decimal } from '../api/fields.ts'
import { readBucketPlace } from '../artifacts/artifacts-in-bucket.ts'
import { ApprovalRules } from '../domain/approvals/rules.ts'
import { LEVELS } from '../domain/isolation.ts'
import { asksForGoal, Network, withoutPresets } from '../domain/network.ts'
import { PoolName } from '../domain/records.ts'
import { messageOf } from '../lib/message-of.ts'
import type { OwnSecret } from '../masking/mask.ts'
import { modelUrl } from '../models/operator-files.ts'
import { PROXY_VARIABLES } from '../models/patient-fetch.ts'
import { KEY_VARIABLES } from '../models/providers.ts'
import { isConnectionString } from '../store/eventstoredb/connection-string.ts'
import { CommandEnv, commandVariables, passwordsIn, secretVariables } from './command-env.ts'

const trimmed = z.string().trim()
const text = trimmed.min(1, 'must not be empty')
const path = text.transform((name) => resolve(name))
const webAddress = text.pipe(
  z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' }),
)
/** The keys of the vendors. */
const keys = Object.fromEntries(KEY_VARIABLES.map((name) => [name, text.optional()])) as Record<
  (typeof KEY_VARIABLES)[number],
  z.ZodOptional<typeof text>
>
const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, `must be one of ${names.join(', ')}`)

/** Where a server listens: on a port, or on a unix socket at a path. */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly socket: string }

/** `HOST:PORT`, with brackets around an IPv6 address, or `unix:PATH`. */
export const listenAddress = text.transform((address, context): ListenAddress => {
  const socket = /^unix:(.+)/.exec(address)?.[1]
  if (socket !== undefined) return { socket: resolve(socket) }
  const [, inBrackets, name, digits] = /^(?:\[(.+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? []
  const host = inBrackets ?? name
  if (host !== undefined && Number(digits) <= 65_535) return { host, port: Number(digits) }
  context.addIssue('must be HOST:PORT, such as 127.0.0.1:8000, or unix:PATH')
  return z.NEVER
})
const number = trimmed.pipe(Decimal)
const positive = number.pipe(z.number().positive('must be more than 0'))
const positiveInt = number.pipe(z.int('must be a whole number').min(1, 'must be at least 1'))
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const OLLAMA_PORT = '11434'
const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1'])

/** Whether a server at this address is reachable only from the same machine. */
export const isLocal = (address: ListenAddress): boolean =>
  'socket' in address || LOOPBACK.has(address.host)

/** OLLAMA_HOST in the forms that Ollama accepts, also as a server writes its own (`0.0.0.0`), read as its address. */
const ollamaUrl = text.transform((host, context) => {
  const isUrl = host.includes('://')
  const port = isUrl || /:\d+(?:\/|$)/.test(host) ? '' : `:${OLLAMA_PORT}`
  const name = host.replace(/(?<=^|\/\/)(?:0\.0\.0\.0|\[::\](?=$|[:/])|(?=:\d))/, '127.0.0.1')
  const url = URL.parse(isUrl ? name : `http://${name}${port}`)
  if (url !== null && /^https?:$/.test(url.protocol) && url.username + url.search === '') {
    return url.href.replace(/\/+$/, '')
  }
  context.addIssue(
    'must be host, host:port, :port, or an http:// or https:// URL without a password',
  )
  return z.NEVER
})

/** `none`, `hosts` (any that a run names), `full`, or the hosts that runs may name, without presets. */
const networkSetting = text.transform((value, context) => {
  if (value === 'none' || value === 'hosts' || value === 'full') return value
  const listed = Network.safeParse({ allow: value.split(',').map((entry) => entry.trim()) })
  const isMeant = listed.success && !asksForGoal(listed.data)
  const network = isMeant ? withoutPresets(listed.data, []) : 'none'
  if (typeof network !== 'string') return network.allow
  context.addIssue(
    'must be none, hosts, full, or a list of hosts and presets such as pypi.org,*.example.org,preset:npm',
  )
  return z.NEVER
})

/** A JSON list of rules, or the path of a file that has one. */
const approvalsSetting = text.transform((value, context) => {
  const isInline = value.startsWith('[')
  const refuse = (problem: string): never => {
    const where = isInline ? '' : `names the file ${resolve(value)}, which `
    context.addIssue(`${where}is not a list of rules: ${problem}`)
    return z.NEVER
  }
  try {
    const json = isInline ? value : readFileSync(value, 'utf8')
    const rules = ApprovalRules.safeParse(JSON.parse(json))
    return rules.success ? rules.data : refuse(z.prettifyError(rules.error))
  } catch (cause) {
    return refuse(messageOf(cause))
  }
})

/** All settings of a server: one row per environment variable. */
export const Settings = z.strictObject({
  RETRAI_LISTEN: listenAddress.default({ host: '127.0.0.1', port: 8000 }),
  RETRAI_DATA_DIR: path,
  EVENTSTORE_URL: text
    .refine(
      isConnectionString,
      'must be a connection string that begins with esdb:// or kurrentdb://',
    )
    .optional(),
  /** The servers that have the same projects and models; the name of this machine at the first start if it is not set. */
  RETRAI_POOL: trimmed.pipe(PoolName).optional(),
  /** A folder or a bucket for artifacts that the servers of a log share; null keeps them in the log. */
  RETRAI_ARTIFACTS: text
    .transform((place, context) => {
      if (place === 'log') return null
      if (isAbsolute(place)) return resolve(place)
      if (!place.startsWith('s3:')) {
        context.addIssue('must be "log", an absolute path, or s3://bucket/prefix')
        return z.NEVER
      }
      return readBucketPlace(place).match(
        (bucket) => bucket,
        (problem) => {
          context.addIssue(problem.replace(/^it /, ''))
          return z.NEVER
        },
      )
    })
    .optional(),
  /** For a bucket in RETRAI_ARTIFACTS. */
  AWS_ACCESS_KEY_ID: text.optional(),
  AWS_SECRET_ACCESS_KEY: text.optional(),
  AWS_SESSION_TOKEN: text.optional(),
  AWS_REGION: text.optional(),
  RETRAI_TOKEN: text.min(16, 'must have at least 16 characters').optional(),
  RETRAI_LOG_LEVEL: oneOf(LOG_LEVELS).default('info'),
  RETRAI_MAX_RUNS_AT_WORK: positiveInt.default(16),
  /** How deep sub-agents may start others; 0: there are no sub-agents. */
  RETRAI_SUBAGENT_DEPTH: number
    .pipe(z.int('must be a whole number').max(10, 'must be at most 10'))
    .default(2),
  /** The memory of all processes of one command; half of the memory of the machine if it is not set. */
  RETRAI_COMMAND_MEMORY_MIB: positiveInt.pipe(z.number().min(64, 'must be at least 64')).optional(),
  RETRAI_ISOLATION: oneOf(['auto', ...LEVELS]).default('auto'),
  /** The most that a run may ask for. */
  RETRAI_NETWORK: networkSetting.default('hosts'),
  /** Folders and files that isolated commands may read. */
  RETRAI_TOOL_PATHS: text
    .transform((paths) => paths.split(':').filter(Boolean))
    .pipe(z.array(z.string().startsWith('/', 'must be absolute paths, with colons between them')))
    .optional(),
  /** A JSON file with the MCP servers that runs may name. */
  RETRAI_MCP_SERVERS: path.optional(),
  /** The MCP servers that a request may bring. */
  RETRAI_MCP_REQUESTS: oneOf(['none', 'commands', 'all']).default('commands'),
  /** Variables of this server that commands of agents and checks see. */
  RETRAI_COMMAND_ENV: CommandEnv.optional(),
  RETRAI_MAX_COST_USD: positive.optional(),
  RETRAI_MAX_TOKENS: positiveInt.optional(),
  RETRAI_MAX_SECONDS: positive.optional(),
  /** Rules for the calls of every run. */
  RETRAI_APPROVALS: approvalsSetting.optional(),
  RETRAI_LEASE_SECONDS: positive
    .pipe(z.number().min(1, 'must be at least 1').max(3_600, 'must be at most 3600'))
    .default(15),
  /** 0: no checkpoints are written. */
  RETRAI_CHECKPOINT_SECONDS: number
    .pipe(z.int('must be a whole number').max(86_400, 'must be at most 86400'))
    .default(60),
  /** A JSON file with the witnesses that see the checkpoints, and how many of them must. */
  RETRAI_WITNESSES: path.optional(),
  /** An authority that stamps the time of checkpoints (RFC 3161), and a PEM file with its certificates. */
  RETRAI_TSA: webAddress.optional(),
  RETRAI_TSA_CA: path.optional(),
  /** Hosts to which webhooks are sent whatever their addresses are, over http too. */
  RETRAI_WEBHOOK_HOSTS: text
    .transform((hosts) => hosts.split(',').map((host) => host.trim().toLowerCase()))
    .pipe(
      z.array(
        z
          .string()
          .regex(
            /^(?:[^\s/:@]+|\[[0-9a-f:.]+\])$/,
            'must be host names without ports, with commas between them',
          ),
      ),
    )
    .default([]),
  RETRAI_ACCESS_LOG: oneOf(['on', 'off']).default('on'),
  /** A collector of traces. */
  OTEL_EXPORTER_OTLP_ENDPOINT: webAddress.optional(),
  /** An endpoint for every model, whatever its name. */
  RETRAI_LLM_BASE_URL: modelUrl('RETRAI_LLM_API_KEY').optional(),
  RETRAI_LLM_API_KEY: text.optional(),
  /** The model of runs that name none. */
  RETRAI_MODEL: text.optional(),
  /** A JSON file with the addresses, headers and keys of providers. */
  RETRAI_PROVIDERS: path.optional(),
  /** A JSON or YAML file with prices and windows of models. */
  RETRAI_PRICES: path.optional(),
  ...keys,
  OPENAI_BASE_URL: modelUrl('OPENAI_API_KEY').optional(),
  OLLAMA_HOST: ollamaUrl.optional(),
})
export type Settings = Readonly<z.infer<typeof Settings>>

const SECRETS = [
  'RETRAI_TOKEN',
  'RETRAI_LLM_API_KEY',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  ...KEY_VARIABLES,
] satisfies (keyof Settings)[]

/**
 * The secrets among the settings, each with the name of its variable.
 * @param env has the variables that commands may see
 */
export function secretsOf(
  settings: Settings,
  env: Readonly<Record<string, string | undefined>> = process.env,
): OwnSecret[] {
  const proxies = PROXY_VARIABLES.map((name) => [name, env[name]] as const)
  const urls = [['EVENTSTORE_URL', settings.EVENTSTORE_URL] as const, ...proxies]
  return [
    ...SECRETS.map((name) => ({ name, value: settings[name] ?? '' })),
    ...urls.flatMap(([name, url = '']) => passwordsIn(url).map((value) => ({ name, value }))),
    ...secretVariables(commandVariables(settings.RETRAI_COMMAND_ENV ?? [], env)),
  ].filter(({ value }) => value !== '')
}
