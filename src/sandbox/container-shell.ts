import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Network } from '../domain/network.ts'
import { isWithin } from '../lib/paths.ts'
import { shellWord, words } from '../lib/text.ts'
import type { OpenedProject } from './sandbox.ts'
import { SYSTEM } from './system.ts'
import { FOLDERS } from './tool-chains.ts'

/** The descriptor to which a command reports. Before it begins, the shell at its gate answers the runner there. */
export const REPORT_FD = 3
/** The descriptor from which the shell at the gate of a container reads the command. */
const COMMAND_FD = 6

/** The kernel counts threads, and every Node has a dozen. */
export const THREADS_PER_PROCESS = 8

/** The largest file that a command can write. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024 * 1024
const FILE_BLOCKS = MAX_FILE_BYTES / 512

/** What a container reports at its gate, before the command begins or does not. */
export const GATE = { ready: 'ready', started: 'started', notFound: 'not_found' } as const

/**
 * The first process of a container: its end is the end of all that the command left. The command begins only after the
 * runner has answered: then the container is in its control group, the kernel knows with what it ends, and `COMMAND_FD`
 * names the command.
 * @param before what prepares the home and the network of the command
 * @param run how it becomes the command
 */
export const prelude = (before: string, run: string): string => `echo ${GATE.ready} >&${REPORT_FD}
read -r _ <&${REPORT_FD} || exit 125
. /proc/self/fd/${COMMAND_FD}; exec ${COMMAND_FD}<&-
cd "$1" || exit 126; retrai_threads=$2 retrai_reports=$3; shift 3
command -v "$1" >/dev/null 2>&1 || { echo ${GATE.notFound} >&${REPORT_FD}; exit 127; }
echo ${GATE.started} >&${REPORT_FD}; [ "$retrai_reports" ] || exec ${REPORT_FD}>&-
exec 4>&2 2>/dev/null
${before}
echo 1000 >/proc/self/oom_score_adj; ulimit -c 0; ulimit -f ${FILE_BLOCKS}; ulimit -u "$retrai_threads" || ulimit -p "$retrai_threads"
${run}`

/** What a container runs, and where it starts: a path on the host. */
export type ContainedCommand = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly processes: number
  /** Whether it may report a text to `REPORT_FD`. */
  readonly reports?: boolean
}

/**
 * What the shell at the gate reads: its arguments, and variables of the command alone.
 * @param variables those that no program before the command may have
 */
export function commandScript(
  command: ContainedCommand,
  variables: readonly (readonly [string, string])[] = [],
): string {
  const { file, args, cwd, processes, reports = false } = command
  const threads = String(processes * THREADS_PER_PROCESS)
  const words = [cwd, threads, reports ? 'yes' : '', file, ...args].map(shellWord)
  const exported = variables.map(([name, value]) => `export ${name}=${shellWord(value)}\n`)
  return withoutNul([...exported, `set -- ${words.join(' ')}\n`]).join('')
}

/** Process 1 is the shell itself, which a command cannot signal, or one of bwrap's own. */
export const howToRun = (user: OpenedProject['user']): string =>
  user === null ? '(exec "$@") 2>&4 4>&-\nexit $?' : 'exec "$@" 2>&4 4>&-'

/** Throws if one cannot be passed to a process. */
export function withoutNul(texts: readonly string[]): readonly string[] {
  if (texts.some((text) => text.includes('\0'))) throw new Error('it contains a NUL')
  return texts
}

/** Where the socket of the proxy is in a container. */
export const PROXY_SOCKET = '/run/proxy.sock'
/**
 * Where programs in a container find the proxy: they know no proxies on unix sockets. If commands share a network, each
 * has a port of its own, from this one on, so that each connection is recorded with its command.
 */
export const FIRST_PORT = 3128

/** Passes connections on from the port to the socket. */
const forwarder = (port: number): readonly string[] => [
  process.execPath,
  '--max-old-space-size=64',
  '-e',
  `const { connect, createServer } = require('node:net')
createServer({ allowHalfOpen: true }, (client) => {
  const proxy = connect({ path: '${PROXY_SOCKET}', allowHalfOpen: true })
  client.on('error', () => proxy.destroy()).pipe(proxy)
  proxy.on('error', () => client.destroy()).pipe(client)
}).listen(${port}, '127.0.0.1')`,
]

/** More looks, every hundredth of a second, than any start takes. */
const LOOKS = 1_000

/**
 * For the shell that starts the command of a container: starts the forwarder and waits until the list of
 * sockets says that it listens.
 */
export const startForwarder = (port: number): string => `
${forwarder(port).map(shellWord).join(' ')} </dev/null >/dev/null 2>&1 3>&- 4>&- &
listens() { while read -r _ at _ state _; do [ "$at $state" = '0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 0A' ] && return; done </proc/net/tcp; return 1; }
looks=0; until listens || [ $((looks += 1)) -gt ${LOOKS} ]; do sleep 0.01; done
`

/** Without a network, npm would try again for more than a minute before it reports that a name cannot be resolved. */
const OFFLINE = { npm_config_fetch_retries: '0', PIP_RETRIES: '0', CARGO_NET_RETRY: '0' }

/** The variables that lead programs to the proxy, if there is one. Both spellings: some programs know only one. */
export function networkVariables(network: Network, port = FIRST_PORT): Record<string, string> {
  if (typeof network === 'string') return network === 'none' ? OFFLINE : {}
  const url = `http://127.0.0.1:${port}`
  const own = 'localhost,127.0.0.1,::1'
  return {
    http_proxy: url,
    https_proxy: url,
    HTTP_PROXY: url,
    HTTPS_PROXY: url,
    no_proxy: own,
    NO_PROXY: own,
    NODE_USE_ENV_PROXY: '1',
  }
}

/** Variables about the home of the server's user: an isolated command has its own. */
const NOT_PASSED = words(`
  HOME USER LOGNAME SHELL TMPDIR TMP TEMP XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME
  XDG_RUNTIME_DIR CARGO_HOME GOPATH GOCACHE GOMODCACHE
`)
/** Where Go downloads modules by itself. */
const GO_PROXIES = 'https://proxy.golang.org,direct'

type Surroundings = {
  readonly home: string
  readonly tmp: string
  readonly tools: readonly string[]
  readonly network: Network
}

/** The registry of the official image of Rust, which needs no place in a home. */
const SYSTEM_REGISTRY = '/usr/local/cargo/registry'

/** The environment of an isolated command: without what belongs to the home of the server's user. */
export function isolatedEnvironment(
  env: Readonly<Record<string, string>>,
  { home, tmp, tools, network }: Surroundings,
): Record<string, string> {
  const isShown = (path: string): boolean =>
    [...SYSTEM, ...tools].some((folder) => isWithin(folder, path))
  const missing = FOLDERS.filter((name) => env[name] !== undefined && !isShown(env[name]))
  const passed = Object.entries(env).filter(([name]) => ![...NOT_PASSED, ...missing].includes(name))
  const rustup = tools.find((path) => path.endsWith('/.rustup'))
  const registry = tools.find((path) => /\/\.?cargo\/registry$/.test(path)) ?? SYSTEM_REGISTRY
  const { GOMODCACHE, GOPATH } = env
  const downloads = [
    ...(GOMODCACHE === undefined ? [] : [GOMODCACHE]),
    ...(GOPATH === undefined ? [] : [join(GOPATH.split(':')[0] ?? '', 'pkg/mod')]),
    ...tools.filter((path) => path.endsWith('/pkg')).map((path) => join(path, 'mod')),
  ]
    .map((path) => join(path, 'cache/download'))
    .find((path) => isShown(path) && existsSync(path))
  return {
    ...Object.fromEntries(passed),
    HOME: home,
    USER: 'agent',
    LOGNAME: 'agent',
    SHELL: '/bin/bash',
    TMPDIR: tmp,
    ...(rustup === undefined || env.RUSTUP_HOME !== undefined ? {} : { RUSTUP_HOME: rustup }),
    // Go writes modules into the home. Without this it takes the right to remove them.
    GOFLAGS: [env.GOFLAGS, '-modcacherw'].filter(Boolean).join(' '),
    ...(downloads === undefined ? {} : { GOPROXY: goProxies(downloads, env.GOPROXY) }),
    // Cargo knows one registry only: with a network, it fills that of its home.
    ...(network === 'none' && existsSync(registry) ? { CARGO_HOME: dirname(registry) } : {}),
    ...networkVariables(network),
  }
}

/** The cache of the host first. After `|`, Go asks the next one also if it may not read the first. */
function goProxies(downloads: string, others = GO_PROXIES): string {
  const url = pathToFileURL(downloads).href.replace(/[,|]/g, encodeURIComponent)
  return `${url}|${others}`
}
