import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { repositoryAround } from './project-folder.ts'
import {
  AROUND,
  EMPTY_HOME,
  EMPTY_TMP,
  isRoot,
  type OpenedProject,
  openProject,
  type PolicyFacts,
  PROGRAM,
  policyHash,
  prepareFolders,
  rightsOf,
  type Sandbox,
  toolRole,
  unique,
} from './sandbox.ts'
import { DEVICES, SECRET_FILES, SECRET_FOLDERS, SYSTEM } from './system.ts'

const SECRETS = [...SECRET_FILES, ...SECRET_FOLDERS]
const READ = 'read-file,read-dir,execute'
const READ_FILE = 'read-file,execute'
const WRITE = `${READ},write-file,remove-dir,remove-file,make-dir,make-reg,make-sock,make-fifo,make-sym,refer,truncate`
const WRITE_FILE = 'read-file,write-file'

/**
 * Prepares a command that shares the namespaces of the server, with a list of what it reads and writes, a filter of system
 * calls, and without capabilities. It must start in the project, which its rules name as `.`: a path could lead elsewhere
 * by then.
 */
export function restricted(
  sandbox: Sandbox,
  project: OpenedProject,
  command: readonly string[],
): { readonly args: readonly string[]; readonly facts: PolicyFacts } {
  const { user } = project
  prepareFolders(sandbox, user)
  const { fixed, rules, facts } = rulesFor(sandbox, project)
  const ids = user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  const args = [
    ...fixed,
    ...ids,
    '--landlock-access',
    'fs',
    ...rules.flatMap(({ access, path }) => {
      return ['--landlock-rule', `path-beneath:${access}:${path}`]
    }),
    '--seccomp-filter',
    sandbox.filter,
    '--',
    ...command,
  ]
  return { args, facts }
}

function rulesFor(sandbox: Sandbox, { user, real }: OpenedProject) {
  const fixed = ['--no-new-privs', '--inh-caps=-all', ...(isRoot() ? ['--bounding-set=-all'] : [])]
  const rules = landlockRules(sandbox, user, real)
  const rights = rightsOf(user)
  const rolesTo = (write: boolean): string[] =>
    unique(rules.flatMap(({ writes, role }) => (writes === write ? [role] : [])))
  const lines = rules.map(({ access, role, path }) => {
    return `${access} ${role === 'system' ? path : role}`
  })
  const facts: PolicyFacts = {
    visible: rolesTo(false),
    writable: rolesTo(true).filter((role) => role !== 'system'),
    protected: [],
    policy_sha256: policyHash([...fixed, rights.fixed], unique(lines)),
    ...rights.name,
  }
  return { fixed, rules, facts }
}

/** What a command may see and do. */
export function factsOfRestricted(sandbox: Sandbox): PolicyFacts {
  using project = openProject(sandbox)
  return rulesFor(sandbox, project).facts
}

/** What Landlock allows below a path, with its role in records. */
type Rule = {
  readonly path: string
  readonly role: string
  readonly access: string
  readonly writes: boolean
}

/** What a command without mounts of its own sees and changes. */
function landlockRules(sandbox: Sandbox, user: OpenedProject['user'], real: string): Rule[] {
  const { own, copy, readable } = sandbox
  const rules = (paths: readonly string[], role: string, writes = false): Rule[] =>
    paths
      .filter((path) => existsSync(path))
      .map((path) => {
        const isFolder = lstatSync(path).isDirectory()
        const access = writes ? (isFolder ? WRITE : WRITE_FILE) : isFolder ? READ : READ_FILE
        return { path, role, access, writes }
      })
  const tools = user === null ? sandbox.tools : sandbox.tools.filter(isOpenToAll)
  const etc = user === null && isRoot() ? readableOfEtc() : ['/etc']
  const repository = repositoryAround(real, sandbox)
  const around = repository?.around ?? null
  const [home, tmp] = own?.kept === true ? ['home', 'tmp'] : [EMPTY_HOME, EMPTY_TMP]
  return [
    ...rules([...SYSTEM.filter((path) => path !== '/etc'), ...etc, '/proc'], 'system'),
    ...tools.flatMap((path) => rules([path], toolRole(path, sandbox))),
    ...rules(readable, PROGRAM),
    ...rules(repository?.paths ?? [], 'repository'),
    ...rules(around?.parts ?? [], AROUND),
    // All names of the repository can be listed, and only its parts read.
    ...(repository === null || around === null
      ? []
      : [{ path: repository.root, role: AROUND, access: 'read-dir', writes: false }]),
    ...rules(DEVICES, 'system', true),
    { path: '.', role: 'project', access: WRITE, writes: true },
    ...(copy?.replaces === false ? rules([copy.folder], 'copy', true) : []),
    ...(own === null ? [] : [...rules([own.home], home, true), ...rules([own.tmp], tmp, true)]),
  ]
}

/** Whether every user may pass through the folders above a path: setpriv opens it as the user of the command. */
function isOpenToAll(path: string): boolean {
  for (let at = path; at !== '/'; at = dirname(at))
    if ((statSync(at).mode & 0o1) === 0) return false
  return true
}

/** Root owns the secrets of /etc, so what is read is named one by one. */
function readableOfEtc(): string[] {
  const childrenOf = (folder: string): string[] =>
    readdirSync(folder).map((name) => join(folder, name))
  const secret = (path: string): boolean => SECRETS.some((at) => at === path)
  const above = (path: string): boolean => SECRETS.some((at) => at.startsWith(`${path}/`))
  return childrenOf('/etc')
    .flatMap((path) => (above(path) ? childrenOf(path) : [path]))
    .filter((path) => !secret(path))
}
