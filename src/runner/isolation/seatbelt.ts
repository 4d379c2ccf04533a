import { closeSync, lstatSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { GUARDED } from './guarded-files.ts'
import { type PolicyFacts, policyHash, rightsOf, type Seen, seenIn, unique } from './policy.ts'
import { type Repository, repositoryAround } from './repositories.ts'
import {
  isRoot,
  isWithin,
  type OpenedProject,
  openProject,
  prepareFolders,
  realPathOf,
  type Sandbox,
  SandboxError,
} from './sandbox.ts'

/**
 * A role in `visible`: nobody has run this level on macOS, so nobody knows whether the kernel applies the profile as
 * intended.
 */
const NOT_VERIFIED = 'not verified'

const quoted = (filter: string, texts: readonly string[]): string =>
  texts.map((text) => `(${filter} "${text}")`).join(' ')

const READ = 'file-read* file-test-existence file-map-executable'
/** What programs of macOS need of the system. */
const FOLDERS = [
  ...[
    '/usr',
    '/bin',
    '/sbin',
    '/System',
    '/opt',
    '/nix/store',
    '/private/etc',
    '/private/preboot/Cryptexes',
  ],
  ...['Apple', 'Developer', 'Frameworks', 'Java', 'Perl', 'Ruby'].map((name) => `/Library/${name}`),
  ...['db/dyld', 'db/timezone', 'db/xcode_select_link', 'select'].map(
    (name) => `/private/var/${name}`,
  ),
  '/Applications/Xcode.app',
]
const DEVICES = [
  ...['null', 'zero', 'random', 'urandom', 'tty', 'dtracehelper'].map((name) => `/dev/${name}`),
]
/** Not `kern.procargs` and `kern.proc`, by which a process reads the environments of others. */
const KERNEL_FACTS = [
  ...['hw.', 'machdep.', 'vm.', 'sysctl.', 'kern.os', 'kern.version', 'kern.hostname', 'kern.max'],
  ...['kern.argmax', 'kern.ngroups', 'kern.usrstack64', 'kern.boottime', 'kern.secure_kernel'],
  ...['kern.iossupportversion', 'kern.tcsm', 'kern.grade_cputype'],
]
/** Who users and groups are. Without the services of the keychain, the pasteboard and other programs. */
const SERVICES = ['opendirectoryd.libinfo', 'opendirectoryd.membership', 'notification_center']

/** The rules that name no path of this machine. The last rule that fits decides. */
const FIRST_RULES = [
  '(version 1)',
  '(deny default)',
  '(allow process-exec process-fork)',
  '(allow signal (target same-sandbox))',
  '(allow process-info* (target same-sandbox))',
  `(allow sysctl-read ${quoted('sysctl-name-prefix', KERNEL_FACTS)})`,
  `(allow mach-lookup ${quoted(
    'global-name',
    SERVICES.map((name) => `com.apple.system.${name}`),
  )})`,
  `(allow ${READ} (literal "/") ${quoted('subpath', FOLDERS)})`,
  `(allow file-read-metadata file-test-existence ${quoted('literal', ['/etc', '/tmp', '/var', '/dev', '/private', '/private/var', '/Library', '/Applications'])})`,
  `(allow file-read* file-test-existence file-ioctl ${quoted('literal', DEVICES)} (subpath "/dev/fd"))`,
  `(allow file-write-data ${quoted('literal', DEVICES)} (subpath "/dev/fd"))`,
]
/** A second name for a file would get around the rules of the first. */
const LAST_RULES = ['(deny file-link file-write-setugid)', '(deny network*)']

/** What a profile allows or denies for paths. Without a role, it is a part of what another rule says. */
type Rule = {
  readonly rule: string
  readonly filter: 'subpath' | 'literal'
  readonly paths: readonly { readonly path: string; readonly role: string | null }[]
}

const some = (paths: readonly string[], role: string | null) =>
  paths.map((path) => ({ path, role }))

const atRealPath = ({ path, role }: Seen): Seen => ({ path: realPathOf(path), role })

/**
 * The rules of a command, in their order.
 * @param real the project, through no link
 * @param repository the one around the project
 * @param guarded what exists of the guarded files
 */
export function rulesOf(
  sandbox: Sandbox,
  {
    real,
    repository,
    guarded,
  }: Pick<OpenedProject, 'real'> & {
    readonly repository: Repository | null
    readonly guarded: readonly string[]
  },
): Rule[] {
  const { tools, readable, writable, scratch, hidden, project } = sandbox
  const seen = seenIn(sandbox, repository)
  const read = seen.readable.map(atRealPath)
  const isOurs = ({ path }: Seen): boolean => hidden.some((folder) => isWithin(folder, path))
  const outside = [
    ...seen.tools.map(atRealPath),
    ...read.filter((one) => !isOurs(one)),
    ...seen.repository,
  ]
  const written = [
    ...some([real], 'project'),
    ...seen.written.map(atRealPath),
    ...some(scratch === null ? [] : [realPathOf(scratch)], null),
  ]
  const kept = guarded.map((path) => ({ path: join(real, path), role: `project/${path}` }))
  const all = [...outside, ...read, ...written].map(({ path }) => path)
  const above = unique([...all, project].flatMap(foldersAbove))
  const links = unique([project, ...tools, ...readable, ...writable])
  const pinned = unique([...written, ...kept].map(({ path }) => path))
  const between = unique(kept.flatMap(({ path }) => foldersAbove(path))).filter((path) =>
    isWithin(real, path),
  )
  return [
    { rule: `allow ${READ}`, filter: 'subpath', paths: outside },
    { rule: `deny ${READ} file-write*`, filter: 'subpath', paths: some(hidden, 'data folder') },
    {
      rule: 'allow file-read-metadata file-test-existence',
      filter: 'literal',
      paths: some(unique([...above, ...links]), null),
    },
    { rule: `allow ${READ}`, filter: 'subpath', paths: read.filter(isOurs) },
    { rule: `allow ${READ} file-write*`, filter: 'subpath', paths: written },
    { rule: 'deny file-write*', filter: 'subpath', paths: kept },
    // Under another name, the rules would not hold for what is in a folder.
    {
      rule: 'deny file-write-unlink file-write-create',
      filter: 'literal',
      paths: some(unique([...pinned, ...between]), null),
    },
  ]
}

function foldersAbove(path: string): string[] {
  const above = dirname(path)
  return above === path ? [] : [...foldersAbove(above), above]
}

/**
 * A profile, and the parameters that hold its paths: no path is a part of the text, whatever is in its name.
 * @returns the arguments of sandbox-exec before the command
 */
export function profileOf(rules: readonly Rule[]): string[] {
  const parameters: string[] = []
  const lines = rules.flatMap(({ rule, filter, paths }) => {
    const filters = paths.map(({ path }) => {
      const name = `PATH_${parameters.length}`
      parameters.push(`${name}=${path}`)
      return `(${filter} (param "${name}"))`
    })
    // Without a path, a rule would be about all paths.
    return filters.length === 0 ? [] : [`(${rule} ${filters.join(' ')})`]
  })
  const text = [...FIRST_RULES, ...lines, ...LAST_RULES].join('\n')
  return ['-p', text, ...parameters.flatMap((parameter) => ['-D', parameter])]
}

/** Prepares a command for sandbox-exec. Throws a `SandboxError` as `restricted` does. */
export function confined(sandbox: Sandbox, command: readonly string[]) {
  const project = opened(sandbox)
  prepareFolders(sandbox, project.user)
  const rules = rulesIn(sandbox, project)
  const args = [...profileOf(rules), '--', ...command]
  return { args, facts: factsOf(rules, project), user: project.user }
}

/** What a command may see and do. */
export function factsOfConfined(sandbox: Sandbox): PolicyFacts {
  const project = opened(sandbox)
  return factsOf(rulesIn(sandbox, project), project)
}

function opened(sandbox: Sandbox): OpenedProject {
  const project = openProject(sandbox)
  closeSync(project.descriptor)
  if (isRoot() && project.user === null) {
    throw new SandboxError(
      `${sandbox.project} belongs to root. Give it to another user, who then runs its commands`,
    )
  }
  return project
}

const rulesIn = (sandbox: Sandbox, { real }: OpenedProject): Rule[] => {
  const isThere = (path: string): boolean => {
    const found = lstatSync(path, { throwIfNoEntry: false })
    return found?.isFile() === true || found?.isDirectory() === true
  }
  const guarded = GUARDED.filter((path) => {
    return isThere(join(real, path)) && isThere(dirname(join(real, path)))
  })
  return rulesOf(sandbox, { real, repository: repositoryAround(real, sandbox), guarded })
}

function factsOf(rules: readonly Rule[], project: OpenedProject): PolicyFacts {
  const rights = rightsOf(project)
  const roles = rules.flatMap(({ rule, paths }) =>
    paths.flatMap(({ role }) => (role === null ? [] : [{ rule, role }])),
  )
  const rolesOf = (verb: string): string[] =>
    unique(roles.flatMap(({ rule, role }) => (rule === verb ? [role] : [])))
  return {
    visible: ['system', ...rolesOf(`allow ${READ}`), NOT_VERIFIED],
    writable: rolesOf(`allow ${READ} file-write*`),
    protected: rolesOf('deny file-write*').map((role) => role.slice('project/'.length)),
    ...rights.name,
    policy_sha256: policyHash(
      [...FIRST_RULES, ...LAST_RULES, rights.fixed],
      roles.map(({ rule, role }) => `${rule} ${role}`),
    ),
  }
}
