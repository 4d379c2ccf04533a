import { closeSync, existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  AROUND,
  type PolicyFacts,
  policyHash,
  rightsOf,
  type Seen,
  seenIn,
  unique,
} from './policy.ts'
import { repositoryAround } from './repositories.ts'
import { type OpenedProject, openProject, prepareFolders, type Sandbox } from './sandbox.ts'
import { DEVICES, SECRET_FILES, SECRET_FOLDERS, SYSTEM } from './system.ts'

const SECRETS = [...SECRET_FILES, ...SECRET_FOLDERS]
const READ = 'read-file,read-dir,execute'
const READ_FILE = 'read-file,execute'
const WRITE = `${READ},write-file,remove-dir,remove-file,make-dir,make-reg,make-sock,make-fifo,make-sym,refer,truncate`
const WRITE_FILE = 'read-file,write-file'
/** For setpriv, these lead to what will be the outputs of the command. */
const OUTPUTS = ['/dev/stdout', '/dev/stderr']

type Restricted = { readonly args: readonly string[]; readonly facts: PolicyFacts }

/**
 * Prepares a command that shares the namespaces of the server, with a list of what it reads and writes, a filter of system
 * calls, and without capabilities. It must start in the project, which its rules name as `.`: a path could lead elsewhere
 * by then.
 * @param opensOutputs whether it may open its outputs, which must not be sockets
 */
export function restricted(
  sandbox: Sandbox,
  project: OpenedProject,
  command: readonly string[],
  opensOutputs: boolean,
): Restricted {
  const { user } = project
  prepareFolders(sandbox, user)
  const { fixed, rules, facts } = rulesFor(sandbox, project)
  const ids = user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  const outputs = opensOutputs ? OUTPUTS.map((path) => ({ access: 'write-file', path })) : []
  const args = [
    ...[...fixed, ...ids, '--landlock-access', 'fs'],
    ...[...rules, ...outputs].flatMap(({ access, path }) => {
      return ['--landlock-rule', `path-beneath:${access}:${path}`]
    }),
    ...['--seccomp-filter', sandbox.filter, '--', ...command],
  ]
  return { args, facts }
}

function rulesFor(sandbox: Sandbox, project: OpenedProject) {
  const { user, real } = project
  const fixed = [
    ...['--no-new-privs', '--inh-caps=-all'],
    ...(process.getuid?.() === 0 ? ['--bounding-set=-all'] : []),
  ]
  const rules = landlockRules(sandbox, user, real)
  const rights = rightsOf(project)
  const facts = factsOf([...fixed, rights.fixed], rules)
  return { fixed, rules, facts: { ...facts, ...rights.name } }
}

function factsOf(fixed: readonly string[], rules: readonly Rule[]): PolicyFacts {
  const rolesTo = (write: boolean): string[] =>
    unique(rules.flatMap(({ writes, role }) => (writes === write ? [role] : [])))
  const lines = rules.map(({ access, role, path }) => {
    return `${access} ${role === 'system' ? path : role}`
  })
  return {
    visible: rolesTo(false),
    writable: rolesTo(true).filter((role) => role !== 'system'),
    protected: [],
    policy_sha256: policyHash(fixed, unique(lines)),
  }
}

/** What a command may see and do. */
export function factsOfRestricted(sandbox: Sandbox): PolicyFacts {
  const project = openProject(sandbox)
  closeSync(project.descriptor)
  return rulesFor(sandbox, project).facts
}

/** What Landlock allows below a path. */
type Rule = Seen & { readonly access: string; readonly writes: boolean }

function landlockRules(sandbox: Sandbox, user: OpenedProject['user'], real: string): Rule[] {
  const tools = user === null ? sandbox.tools : sandbox.tools.filter(isOpenToAll)
  const etc = user === null && process.getuid?.() === 0 ? readableOfEtc() : ['/etc']
  const rule = (seen: Seen, writes: boolean): Rule[] => {
    if (!existsSync(seen.path)) return []
    const isFolder = lstatSync(seen.path).isDirectory()
    const access = writes ? (isFolder ? WRITE : WRITE_FILE) : isFolder ? READ : READ_FILE
    return [{ ...seen, access, writes }]
  }
  const ofSystem = (path: string): Seen => ({ path, role: 'system' })
  const system = [...SYSTEM.filter((path) => path !== '/etc'), ...etc, '/proc'].map(ofSystem)
  const repository = repositoryAround(real, sandbox)
  const seen = seenIn({ ...sandbox, tools }, repository)
  // All names of the repository can be listed, and only its parts read.
  const names = { path: repository?.root ?? '', role: AROUND, access: 'read-dir', writes: false }
  return [
    ...[...system, ...seen.tools, ...seen.readable, ...seen.repository].flatMap((one) =>
      rule(one, false),
    ),
    ...(repository === null || repository.around === null ? [] : [names]),
    ...DEVICES.map(ofSystem).flatMap((one) => rule(one, true)),
    { path: '.', role: 'project', access: WRITE, writes: true },
    ...seen.written.flatMap((one) => rule(one, true)),
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
