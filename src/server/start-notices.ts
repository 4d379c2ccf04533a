import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { IMPORTS_FOLDER, pendingImports } from '../audit/bundle/import-run.ts'
import type { Auth } from '../auth/auth.ts'
import type { OwnSecret } from '../masking/mask.ts'
import { guardSecrets } from '../masking/process-mask.ts'
import type { ModelCatalogue } from '../models/catalogue.ts'
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

/** Something in the settings that is probably a mistake, and what to do about it. */
type Doubt = { readonly name: string; readonly message: string; readonly fix: string }

/** What a person should know about the settings of a server, and what to do about each. */
export function doubtsAbout(
  settings: Pick<Settings, 'RETRAI_COMMAND_ENV' | 'RETRAI_DATA_DIR'>,
  env: Readonly<Record<string, string | undefined>>,
): Doubt[] {
  const { RETRAI_COMMAND_ENV: names = [], RETRAI_DATA_DIR: dataDir } = settings
  const doubts: Doubt[] = []
  const unknown = unknownSettings(settings, env)
  if (unknown.length > 0) {
    const message = `These variables are not settings, so they have no effect: ${unknown.join(', ')}.`
    const fix = 'Correct the names: "retrai serve --help" lists the settings.'
    doubts.push({ name: 'settings', message, fix })
  }
  const missing = names.filter((name) => env[name] === undefined)
  if (missing.length > 0) {
    const message = `RETRAI_COMMAND_ENV names variables that are not set, so commands do not have them: ${missing.join(', ')}.`
    doubts.push({ name: 'settings', message, fix: 'Set them, or leave them out.' })
  }
  if (dataDir === formerDataDir()) {
    const message = `The data folder ${dataDir} is in the folder of the start: if that is a project, its runs are refused.`
    const target = newDataDir(env)
    const fix = `Stop the server and run: mkdir -p '${dirname(target)}' && mv '${dataDir}' '${target}'`
    doubts.push({ name: 'place of the data folder', message, fix })
  }
  return doubts
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
      'Make a token with "retrai token create", or listen on a socket of yours with RETRAI_LISTEN=unix:PATH',
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
