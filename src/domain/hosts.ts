/** The port that is reached at a host without a port. */
const HTTPS = 443

/** The port of a pattern, such as example.org:8443. */
export const portOf = (text: string): number => Number(/:(\d+)$/.exec(text)?.[1] ?? HTTPS)

/** Whether a list of hosts, without presets, allows a connection to a host in lower case. */
export const allows = (hosts: readonly string[], host: string, port: number): boolean =>
  hosts.some((pattern) => portOf(pattern) === port && matches(nameOf(pattern), host))

const nameOf = (pattern: string): string => pattern.replace(/:\d+$/, '')

/** `*.example.org` matches the names below example.org, and not example.org itself. */
const matches = (pattern: string, host: string): boolean =>
  pattern.startsWith('*.')
    ? host.endsWith(pattern.slice(1)) && host.length >= pattern.length
    : host === pattern

/** The entries of `wanted` that let more through than the list `most`. Neither has presets. */
export const beyond = (wanted: readonly string[], most: readonly string[]): string[] =>
  wanted.filter((pattern) => {
    const name = nameOf(pattern)
    const covers = (other: string): boolean =>
      portOf(other) === portOf(pattern) && (nameOf(other) === name || matches(nameOf(other), name))
    return !most.some(covers)
  })
