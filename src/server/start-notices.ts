import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import type { ModelCatalogue } from '../agent/model/catalogue.ts'
import { IMPORTS_FOLDER, pendingImports } from '../audit/bundle/import-run.ts'
import type { Auth } from '../auth/auth.ts'
import type { OwnSecret } from '../domain/mask/own-secrets.ts'
import { guardSecrets } from '../log/masking.ts'
import type { Commands } from './commands.ts'
import { formerDataDir, newDataDir } from './data-folder.ts'
import { unknownSettings } from './read-settings.ts'
import type { Settings } from './settings.ts'

/** Masks these secrets from now on, and warns of those that are too short for that. */
export function warnOfShortSecrets(secrets: readonly OwnSecret[], log: Logger): void {
  for (const setting of guardSecrets(secrets)) {
    log.warn(
      { setting },
      'this secret is too short to be masked in the records of runs: choose a longer one',
    )
  }
}

/** Warns of variables that commands should see and that are not set. */
export function warnOfMissingVariables({ RETRAI_COMMAND_ENV: names = [] }: Settings, log: Logger) {
  const missing = names.filter((name) => process.env[name] === undefined)
  if (missing.length === 0) return
  log.warn(
    { missing },
    'RETRAI_COMMAND_ENV names variables that are not set: commands do not have them',
  )
}

/** Warns of variables that look like settings, such as one whose name is misspelled. */
export function warnOfUnknownSettings(
  settings: Pick<Settings, 'RETRAI_COMMAND_ENV'>,
  log: Pick<Logger, 'warn'>,
  env: NodeJS.ProcessEnv = process.env,
): void {
  const unknown = unknownSettings(settings, env)
  if (unknown.length === 0) return
  log.warn(
    { unknown },
    'these variables are not settings, so they have no effect: "retrai serve --help" lists the settings',
  )
}

/**
 * Warns that dead processes are left. Process 1 inherits what outlives its parent, also in every container of a command, and Node
 * does not collect it.
 */
export function warnOfProcess1(pid: number, log: Pick<Logger, 'warn'>): void {
  if (pid !== 1) return
  log.warn(
    'this server is process 1 of its container, so every command leaves dead processes until the container has no more numbers ' +
      'for processes: start it with an init such as tini, or with "docker run --init"',
  )
}

/** Warns about a data folder in the folder of the start: if that is a project, it can have no run. */
export function warnOfFormerDataDir({ RETRAI_DATA_DIR: dataDir }: Settings, log: Logger): void {
  if (dataDir !== formerDataDir()) return
  const target = newDataDir(process.env)
  log.warn(
    { data_dir: dataDir },
    'the data folder is in the folder where the server was started: runs of a project there are refused. ' +
      `To move it, stop the server and run: mkdir -p '${dirname(target)}' && mv '${dataDir}' '${target}'`,
  )
}

/** Logs how commands are isolated, and who keeps their limits. */
export function reportCommands(
  { isolation: { level, detail }, limits }: Commands,
  log: Logger,
): void {
  if (limits.limits.group === null) log.warn(limits.detail)
  else log.info(limits.detail)
  if (level === 'namespaces') log.info({ isolation: level }, detail)
  else log.warn({ isolation: level ?? 'refused' }, detail)
}

/** Logs which model a run has that names none, and why. */
export function reportDefaultModel(
  { default: { name, reason, problem } }: ModelCatalogue,
  log: Logger,
) {
  const fields = { model: name, why: reason }
  if (problem === null) log.info(fields, 'runs that name no model use this one')
  else {
    log.warn(
      { ...fields, problem: `The model "${name}" ${problem}` },
      'runs that name no model are refused: set the key of a provider, or set RETRAI_MODEL',
    )
  }
}

/** How long a start waits for the tokens. */
const TOKENS_WITHIN_MS = 30_000

/** Warns that nobody needs a token. Never rejects. */
export async function warnOfLocalAdmins(
  { RETRAI_LISTEN: address }: Settings,
  auth: Auth,
  log: Logger,
): Promise<void> {
  if ('socket' in address || !(await auth.read(TOKENS_WITHIN_MS)) || auth.guarded) return
  log.warn(
    'there are no tokens: everybody who reaches loopback on this machine is an admin, other users and their programs too. ' +
      'Make a token with "retrai token create", or listen on a socket of yours with --listen unix:PATH',
  )
}

/** The runs whose import was interrupted. Nothing works on them, and a line for each reports that. */
export async function unfinishedImports(
  settings: Settings,
  log: Logger,
): Promise<ReadonlySet<string>> {
  const imports = await pendingImports(join(settings.RETRAI_DATA_DIR, IMPORTS_FOLDER))
  for (const run_id of imports) {
    log.warn(
      { run_id },
      'the import of this run was interrupted, so nothing works on the run: import it again',
    )
  }
  return imports
}
