import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { shellWord } from '../../lib/shell-word.ts'
import { isWithin } from './sandbox.ts'
import { SYSTEM } from './system.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Tool chains in a home folder, each with everything that its programs need. The rest of a home stays hidden. */
const IN_HOME = [
  ...['.nvm', '.volta', '.bun', '.deno', '.fnm', '.local/share/fnm', '.local/share/mise'],
  ...[
    '.pyenv',
    '.local/share/uv',
    '.local/share/pipx',
    '.local/pipx',
    '.rye',
    'miniconda3',
    'anaconda3',
  ],
  ...[
    '.rustup',
    '.cargo/bin',
    '.cargo/registry',
    '.cargo/git',
    'go/bin',
    'go/pkg',
    '.goenv',
    'sdk',
  ],
  ...['.asdf', '.rbenv', '.rvm', '.sdkman', '.ghcup', '.local/bin'],
]
/** Variables that name a folder of a tool chain. */
const FOLDERS = [
  ...['VIRTUAL_ENV', 'CONDA_PREFIX', 'PYENV_ROOT', 'NVM_DIR', 'VOLTA_HOME', 'BUN_INSTALL'],
  ...['RUSTUP_HOME', 'GOROOT', 'GOMODCACHE', 'JAVA_HOME'],
]
/** Variables that name a file with certificates. */
const FILES = ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']
/** Variables about the home of the server's user: an isolated command has its own. */
const NOT_PASSED = [
  ...[
    'HOME',
    'USER',
    'LOGNAME',
    'SHELL',
    'TMPDIR',
    'TMP',
    'TEMP',
    'XDG_CACHE_HOME',
    'XDG_CONFIG_HOME',
  ],
  ...['XDG_DATA_HOME', 'XDG_RUNTIME_DIR', 'CARGO_HOME', 'GOPATH', 'GOCACHE', 'GOMODCACHE'],
]
/** Where Go downloads modules by itself. */
const GO_PROXIES = 'https://proxy.golang.org,direct'

/**
 * The folders and files outside of the system's own that commands read: what the PATH names, with the rest of its tool
 * chain, what variables name, the Node of this server, and `more`.
 */
export function toolChains(
  env: Environment,
  more: readonly string[],
  hidden: readonly string[],
): string[] {
  const home = env.HOME ?? homedir()
  const onPath = (env.PATH ?? '').split(':').filter((path) => isAbsolute(path))
  const named = [...FOLDERS, ...FILES].flatMap((name) => env[name] ?? [])
  const inHome = IN_HOME.map((name) => join(home, name))
  const wanted = [
    ...[...onPath, dirname(process.execPath)].flatMap((path) => chainOf(path, home, inHome)),
    ...named,
    ...(env.PATH?.includes(join(home, '.cargo')) ? [join(home, '.rustup')] : []),
    ...['registry', 'git'].map((name) => join(env.CARGO_HOME ?? join(home, '.cargo'), name)),
    join(env.GOPATH?.split(':')[0] || join(home, 'go'), 'pkg'),
    ...more,
  ]
  const shown = [...new Set(wanted)].filter((path) => {
    const isSystem = SYSTEM.some((folder) => isWithin(folder, path))
    const tooMuch = isWithin(path, home) || path === '/' || path === '/tmp'
    const isOurs = hidden.some((folder) => isWithin(folder, path))
    return isAbsolute(path) && !isSystem && !tooMuch && !isOurs && existsSync(path)
  })
  return shown.filter((path) => !shown.some((other) => other !== path && isWithin(other, path)))
}

/** What programs need of the folder that has their `bin` in it. */
const PARTS = [
  ...['bin', 'sbin', 'shims', 'lib', 'lib32', 'lib64', 'libexec', 'share', 'include', 'etc'],
  // A virtual environment, a JDK, Maven, Gradle, Homebrew.
  ...['pyvenv.cfg', 'conf', 'jmods', 'legal', 'release', 'boot', 'init.d', 'Cellar', 'opt'],
]

/** What only a folder that somebody works in has. */
const OF_PROJECT = ['.git', '.env', '.envrc', 'package.json']

/** What a folder of programs belongs to: its tool chain, or parts of the folder that it is in, or only itself. */
function chainOf(path: string, home: string, inHome: readonly string[]): readonly string[] {
  const known = inHome.find((folder) => isWithin(folder, path))
  if (known !== undefined) return [known]
  const above = dirname(path)
  // Programs in node_modules/.bin are links to packages. Go has its library in its sources.
  const isWhole = basename(above) === 'node_modules' || existsSync(join(above, 'pkg/include'))
  const isPart = ['bin', 'sbin', '.bin', 'shims'].includes(basename(path))
  const isProject = OF_PROJECT.some((name) => existsSync(join(above, name)))
  if (!isPart || isProject || isWithin(above, home)) return [path]
  return isWhole ? [above] : [path, ...PARTS.map((name) => join(above, name))]
}

/** The environment of an isolated command: without what belongs to the home of the server's user. */
export function isolatedEnvironment(
  env: Readonly<Record<string, string>>,
  {
    home,
    tmp,
    tools,
  }: { readonly home: string; readonly tmp: string; readonly tools: readonly string[] },
): Record<string, string> {
  const missing = FOLDERS.filter((name) => {
    const path = env[name]
    return path !== undefined && ![...SYSTEM, ...tools].some((folder) => isWithin(folder, path))
  })
  const passed = Object.entries(env).filter(([name]) => ![...NOT_PASSED, ...missing].includes(name))
  const rustup = tools.find((path) => path.endsWith('/.rustup'))
  const isVisible = (path: string): boolean =>
    [...SYSTEM, ...tools].some((folder) => isWithin(folder, path)) && existsSync(path)
  const { GOMODCACHE, GOPATH } = env
  const downloads = [
    ...(GOMODCACHE === undefined ? [] : [GOMODCACHE]),
    ...(GOPATH === undefined ? [] : [join(GOPATH.split(':')[0] ?? '', 'pkg/mod')]),
    ...tools.filter((path) => path.endsWith('/pkg')).map((path) => join(path, 'mod')),
  ]
    .map((path) => join(path, 'cache/download'))
    .find(isVisible)
  return {
    ...Object.fromEntries(passed),
    ...{ HOME: home, USER: 'agent', LOGNAME: 'agent', SHELL: '/bin/bash', TMPDIR: tmp },
    ...(rustup === undefined || env.RUSTUP_HOME !== undefined ? {} : { RUSTUP_HOME: rustup }),
    // Go writes modules into the home. Without this it takes the right to remove them.
    GOFLAGS: [env.GOFLAGS, '-modcacherw'].filter(Boolean).join(' '),
    ...(downloads === undefined ? {} : { GOPROXY: goProxies(downloads, env.GOPROXY) }),
  }
}

/** The cache of the host first. After `|`, Go asks the next one also if it may not read the first. */
function goProxies(downloads: string, others = GO_PROXIES): string {
  const url = pathToFileURL(downloads).href.replace(/[,|]/g, encodeURIComponent)
  return `${url}|${others}`
}

/** The registry of the official image of Rust, which needs no place in a home. */
const SYSTEM_REGISTRY = '/usr/local/cargo/registry'

/**
 * Lines of sh that fill the registry of a new home with what the host has: links to its crates, and a copy of the
 * index, which Cargo writes. Cargo itself reads only one registry. An index that is a repository of git is left out: it
 * is large, and no Cargo since 1.70 has one. '' if the host has no registry.
 */
export function seedCargo(tools: readonly string[]): string {
  const shown = tools.find((path) => /\/\.?cargo\/registry$/.test(path))
  const registry = shown ?? (existsSync(SYSTEM_REGISTRY) ? SYSTEM_REGISTRY : null)
  if (registry === null) return ''
  return `seed_cargo() {
  [ -r "$1/cache" ] && [ ! -e "$HOME/.cargo/registry" ] && mkdir -p "$HOME/.cargo" || return
  new=$(mktemp -d "$HOME/.cargo/registry.XXXXXX") && cp -Rs "$1/cache" "$new" && mkdir "$new/index" || return
  for index in "$1"/index/*/; do [ -e "$index/.git" ] || cp -R "$index" "$new/index"; done
  mv -T "$new" "$HOME/.cargo/registry" || rm -rf "$new"
}
seed_cargo ${shellWord(registry)} 2>/dev/null`
}
