/** The programs that give a container the network `full`, as absolute paths. */
export type NetworkTools = Readonly<Record<'pasta' | 'ip' | 'nsenter' | 'unshare', string>>

/** Which package has which program. */
const PACKAGES: { readonly [P in keyof NetworkTools]: string } = {
  pasta: 'passt',
  ip: 'iproute2',
  nsenter: 'util-linux',
  unshare: 'util-linux',
}

/**
 * Finds the programs, or says in a sentence what to install.
 * @param find where a program is, or null
 */
export function findNetworkTools(
  find: (name: string) => string | null,
): { readonly tools: NetworkTools } | { readonly problem: string } {
  const names = Object.keys(PACKAGES) as (keyof NetworkTools)[]
  const found = names.map((name) => [name, find(name)] as const)
  const missing = found.flatMap(([name, path]) => (path === null ? [name] : []))
  if (missing.length === 0) return { tools: Object.fromEntries(found) as NetworkTools }
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))].join(' ')
  return {
    problem:
      `The network "full" needs ${missing.join(' and ')}, which the server does not find. Install it ` +
      `(apt-get install ${packages}) and start the server again, or name hosts.`,
  }
}
