/** The variables that gRPC reads, in its order. */
const PROXIES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const

/**
 * The variable that sends the connections to these hosts through a proxy; null if they are direct. gRPC reads these
 * variables by itself, in lower case only, and compares names as the ends of host names.
 */
export function proxyVariable(
  hosts: readonly { readonly name: string }[],
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const variable = PROXIES.find((name) => (env[name] ?? '') !== '')
  if (variable === undefined) return null
  const direct = (env.no_grpc_proxy || env.no_proxy || '').split(',').filter((name) => name !== '')
  const isDirect = hosts.every(({ name }) => direct.some((end) => name.endsWith(end)))
  return isDirect ? null : variable
}

let isSilent = false

/**
 * Keeps Node from printing DEP0123 for each process: gRPC names the host of a certificate also if that is an IP address,
 * which Node ignores. Nobody who runs a server can change that.
 */
export function silenceServername(): void {
  if (isSilent) return
  isSilent = true
  const emit: unknown = process.emitWarning.bind(process)
  process.emitWarning = (...args: unknown[]): void => {
    if (args[2] !== 'DEP0123' && typeof emit === 'function') Reflect.apply(emit, process, args)
  }
}
