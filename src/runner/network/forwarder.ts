import type { Network } from '../../domain/network.ts'
import { shellWord } from '../../lib/shell-word.ts'

/** Where the socket of the proxy is in a container. */
export const PROXY_SOCKET = '/run/proxy.sock'
/**
 * Where programs in a container find the proxy: they know no proxies on unix sockets. If commands share a network, each
 * has a port of its own, from this one on, so that each connection is recorded with its command.
 */
export const FIRST_PORT = 3128

const nodeForwarder = (
  port: number,
): string => `const { connect, createServer } = require('node:net')
createServer({ allowHalfOpen: true }, (client) => {
  const proxy = connect({ path: '${PROXY_SOCKET}', allowHalfOpen: true })
  client.on('error', () => proxy.destroy()).pipe(proxy)
  proxy.on('error', () => client.destroy()).pipe(client)
}).listen(${port}, '127.0.0.1')`

/** Passes connections on from the port to the socket: socat, or else Node, which starts more slowly. */
const commandLine = (socat: string | null, port: number): readonly string[] =>
  socat === null
    ? [process.execPath, '--max-old-space-size=64', '-e', nodeForwarder(port)]
    : [
        ...[socat, '-t', '60', `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=128`],
        `UNIX-CONNECT:${PROXY_SOCKET}`,
      ]

/** More looks than any start takes. */
const LOOKS = 100_000

/**
 * For the shell that starts the command of a container: starts the forwarder and waits until it listens. The shell looks at the
 * list of sockets itself, because that takes less time than to start a program.
 * @param socat null: it is not installed
 */
export const startForwarder = (socat: string | null, port: number): string => `
${commandLine(socat, port).map(shellWord).join(' ')} </dev/null >/dev/null 2>&1 3>&- 4>&- &
listens() { while read -r _ at _ state _; do [ "$at $state" = '0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 0A' ] && return; done </proc/net/tcp; return 1; }
looks=0; until listens || [ $((looks += 1)) -gt ${LOOKS} ]; do :; done
`

/** Without a network, npm would try again for more than a minute before it reports that a name cannot be resolved. */
const OFFLINE = { npm_config_fetch_retries: '0', PIP_RETRIES: '0', CARGO_NET_RETRY: '0' }

/** The variables that lead programs to the proxy, if there is one. Both spellings: some programs know only one. */
export function networkVariables(network: Network, port = FIRST_PORT): Record<string, string> {
  if (typeof network === 'string') return network === 'none' ? OFFLINE : {}
  const url = `http://127.0.0.1:${port}`
  const own = 'localhost,127.0.0.1,::1'
  return {
    ...{ http_proxy: url, https_proxy: url, HTTP_PROXY: url, HTTPS_PROXY: url },
    ...{ no_proxy: own, NO_PROXY: own, NODE_USE_ENV_PROXY: '1' },
  }
}
