import * as z from 'zod'
import type { OwnSecret } from '../masking/mask.ts'
import { KEY_VARIABLES } from '../models/providers.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Settings of the server, which no command may see. */
const OWN = new Set<string>([
  'EVENTSTORE_URL',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  ...KEY_VARIABLES,
])
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** Why commands cannot have a variable; null if they can. */
function problemOf(name: string): string | null {
  if (!NAME.test(name)) {
    return `names ${JSON.stringify(name)}, which is not the name of a variable: write names with commas between them, without values`
  }
  if (name.startsWith('RETRAI_') || OWN.has(name)) {
    return `names ${name}, which is a setting of this server: give commands a variable of another name`
  }
  // It would change programs that prepare the isolation.
  if (name.startsWith('LD_')) return `names ${name}, which changes how every program is loaded`
  return null
}

/** `RETRAI_COMMAND_ENV`: the names of variables that commands of agents and checks see. */
export const CommandEnv = z.string().transform((text, context) => {
  const names = text.split(',').map((name) => name.trim())
  const problems = names.flatMap((name) => problemOf(name) ?? [])
  for (const problem of problems) context.addIssue(problem)
  return problems.length > 0 ? z.NEVER : [...new Set(names)].toSorted()
})

/** The variables with their values. What is not set is left out. */
export function commandVariables(
  names: readonly string[],
  env: Environment,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

const SECRET_NAME = /KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|PRIVATE|COOKIE/i
const PASSWORD_IN_URL = /:\/\/[^@/]*?:([^@/]+)@/

/** What records must not show of the variables: by their names, or passwords in addresses. */
export function secretVariables(variables: Readonly<Record<string, string>>): OwnSecret[] {
  return Object.entries(variables).flatMap(([name, value]) => {
    if (SECRET_NAME.test(name)) return [{ name, value }]
    return passwordsIn(value).map((form) => ({ name, value: form }))
  })
}

/** The password in an address, as it is there and as it is meant; none if it has none. */
export function passwordsIn(address: string): string[] {
  const written = PASSWORD_IN_URL.exec(address)?.[1]
  if (written === undefined) return []
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}
