import { existsSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { isWithin } from '../lib/paths.ts'
import { words } from '../lib/text.ts'
import { linkOf } from './project-folder.ts'
import { isExecutable, SYSTEM } from './system.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Tool chains in a home folder, each with everything that its programs need. The rest of a home stays hidden. */
const IN_HOME = words(`
  .nvm .volta .bun .deno .fnm .local/share/fnm .local/share/mise .pyenv .local/share/uv
  .local/share/pipx .local/pipx .rye miniconda3 anaconda3 .rustup .cargo/bin .cargo/registry
  .cargo/git go/bin go/pkg .goenv sdk .asdf .rbenv .rvm .sdkman .ghcup .local/bin
`)
/** Variables that name a folder of a tool chain. */
export const FOLDERS = words(`
  VIRTUAL_ENV CONDA_PREFIX PYENV_ROOT NVM_DIR VOLTA_HOME BUN_INSTALL RUSTUP_HOME GOROOT GOMODCACHE
  JAVA_HOME
`)
/** Variables that name a file with certificates. */
const FILES = ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']
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
  ...words('bin sbin shims lib lib32 lib64 libexec share include etc'),
  // A virtual environment, a JDK, Maven, Gradle, Homebrew.
  ...words('pyvenv.cfg conf jmods legal release boot init.d Cellar opt'),
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

/**
 * Where the first program of a name is on a PATH: the file itself, because a container may not show a link to it. Null
 * if no folder has one. Folders that depend on the working directory are left out: a program of a project may be in one.
 */
export function findProgram(name: string, path = '/usr/bin:/bin'): string | null {
  const folders = path.split(':').filter(isAbsolute)
  const found = folders.map((folder) => join(folder, name)).find(isExecutable)
  return found === undefined ? null : throughLinks(found)
}

/** Follows links that keep the name: with another one, a program such as BusyBox or passt does something else. */
function throughLinks(path: string): string {
  const folder = realpathSync(dirname(path))
  const file = join(folder, basename(path))
  const target = linkOf(file)
  return target !== null && basename(target) === basename(file)
    ? throughLinks(resolve(folder, target))
    : file
}
