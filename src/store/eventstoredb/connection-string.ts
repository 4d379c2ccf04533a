import { err, ok, type Result } from 'neverthrow'
import type { StoreFailure } from '../event-store.ts'

/** Of EventStoreDB, or of KurrentDB, as EventStoreDB has been called since version 25. */
const SCHEME = /^(?:esdb|kurrentdb)(\+discover)?:\/\//

/** Whether a text is meant as a connection string. */
export const isConnectionString = (text: string): boolean =>
  /^(?:esdb|kurrentdb)(?:\+discover)?:/.test(text)

/** An option: its name as the client compares it, and both parts as they are written. */
type Option = { readonly key: string; readonly name: string; readonly value: string | null }

/** A connection string in its parts. Its client reads hosts, certificates and values of options. */
export type Address = {
  /** The string without its options, as the client reads it. */
  readonly base: string
  readonly options: readonly Option[]
}

/** Reads a connection string. The error is a sentence for people, which holds no part of the password. */
export function readConnectionString(text: string): Result<Address, string> {
  const scheme = SCHEME.exec(text)
  if (scheme === null) return err(SCHEMES)
  const [authority, query] = splitOnce(text.slice(scheme[0].length), '?')
  const at = authority.lastIndexOf('@')
  const credentials = at === -1 ? null : authority.slice(0, at)
  if (credentials !== null && /^[^:]*$/.test(credentials)) return err(NO_PASSWORD)
  if (credentials !== null && !isEncoded(credentials)) return err(UNENCODED)
  const options = optionsOf(query)
  // After a question mark that is not encoded, the rest of a password looks like options. A path may hold an @.
  const isPassword = ({ key, name, value }: Option) =>
    name.includes('@') || (!FILES.has(key) && value?.includes('@') === true)
  if (options.some(isPassword)) return err(UNENCODED)
  return ok({ base: `esdb${scheme[1] ?? ''}://${authority}`, options })
}

/** The options that name a file. */
const FILES: ReadonlySet<string> = new Set(['tlscafile', 'usercertfile', 'userkeyfile'])

/** @param key without underscores, hyphens and capital letters */
export const optionOf = (options: readonly Option[], key: string): string | null =>
  options.find((option) => option.key === key)?.value ?? null

const optionsOf = (query: string): Option[] =>
  (query === '' ? [] : query.split('&')).map((text) => {
    const [name, value] = splitOnce(text, '=')
    const key = name.trim().toLowerCase().replace(/[_-]/g, '')
    return { key, name, value: text.includes('=') ? value : null }
  })

const SCHEMES =
  'it must begin with esdb://, esdb+discover://, kurrentdb:// or kurrentdb+discover://'

const UNENCODED =
  'the user name or the password is not encoded. Write %40 for @, %3A for :, %2F for /, %3F for ? and %25 for % in them'

const NO_PASSWORD = 'it names a user without a password. Write user:password@ before the host'

const isEncoded = (credentials: string): boolean =>
  /^[^@:/]+:[^@:/]*$/.test(credentials) && !/%(?![0-9a-f]{2})/i.test(credentials)

/** The text before and after the first separator. */
function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator)
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** A function that removes the password of a connection string from any text, also of one that is not valid. */
export function scrubber(connectionString: string): (text: string) => string {
  // Up to the last @ before the options: one that is not encoded belongs to the password.
  const password = /^[^:]*:\/\/[^:@]*:([^?]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]{0,1000}:)[^@\s]{1,1000}@/g, '$1***@')
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The error with its message scrubbed. */
export const scrubbed = <E extends object>(error: E, scrub: (text: string) => string): E => {
  return 'message' in error ? { ...error, message: scrub(String(error.message)) } : error
}

export const unusable = (why: string): StoreFailure => ({
  type: 'store_failed',
  message: `The connection string of EventStoreDB cannot be used: ${why}`,
})
