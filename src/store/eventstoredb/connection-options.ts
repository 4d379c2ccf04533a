/** The options that the client knows, without those that we cannot leave to it. */
const KNOWN = new Set([
  'connectionname',
  'defaultdeadline',
  'discoveryinterval',
  'gossiptimeout',
  'keepaliveinterval',
  'keepalivetimeout',
  'maxdiscoverattempts',
  'nodepreference',
  'tls',
  'tlscafile',
  'usercertfile',
  'userkeyfile',
])

/** Why an option that the client would take, or complain of, is left out. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  tlsverifycert: 'it has no effect in this client: name the authority with tlsCAFile',
  throwonappendfailure: 'a refused append is always told',
}

const flat = (key: string): string => key.trim().toLowerCase().replace(/[_-]/g, '')

/**
 * The connection string without the options that have no effect here, each of which is logged. The
 * client would print the whole string, password and all, on the console.
 */
export function effectiveOptions(connectionString: string, log: (message: string) => void): string {
  const [address = ''] = /^[^:]*:\/\/(?:[^:]+:[^@]+@)?[^?]*/.exec(connectionString) ?? [
    connectionString,
  ]
  const options = connectionString.slice(address.length + 1)
  if (options === '') return connectionString
  const kept = options.split('&').filter((option) => {
    const [key = ''] = option.split('=')
    if (KNOWN.has(flat(key)) || !option.includes('=')) return true
    log(`EventStoreDB: the option ${key} is ignored: ${LEFT_OUT[flat(key)] ?? 'it is not known'}`)
    return false
  })
  return kept.length === 0 ? address : `${address}?${kept.join('&')}`
}

/** The time limit of a call that the connection string names, in milliseconds. */
export function namedDeadline(connectionString: string): number | undefined {
  const [, named] = /[?&]default[_-]?deadline=(\d+)/i.exec(connectionString) ?? []
  return named === undefined ? undefined : Number(named)
}
