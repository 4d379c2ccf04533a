import { lookup as resolveHost } from 'node:dns'
import type { RequestOptions } from 'node:http'
import { isIP } from 'node:net'
import { isPublicAddress } from '../../runner/network/public-address.ts'
import { fetchWith } from '../model/patient-fetch.ts'
import type { Allowance } from './allowance.ts'

/** The address of a server is not on the public Internet, and its definition does not allow that. */
class PrivateAddress extends Error {
  override readonly name = 'PrivateAddress'

  constructor(host: string, address: string) {
    super(
      `${host} leads to ${address}, which is no address of the public Internet. If it is meant, ` +
        'set "private_address": true in RETRAI_MCP_SERVERS',
    )
  }
}

/**
 * A `fetch` that sends nothing to an address that is not public, whatever a name resolves to at that moment, and reads no
 * more than is allowed.
 */
export function guardedFetch(
  { private_address }: { readonly private_address?: true },
  allowance: Allowance,
): typeof fetch {
  const accepts = (bytes: number): boolean => allowance.take(bytes)
  if (private_address === true) return fetchWith({ accepts })
  const send = fetchWith({ accepts, lookup: publicOnly })
  return async (input, init) => {
    // The name of an address is not looked up.
    const host = new URL(input instanceof Request ? input.url : input).hostname
    const address = host.replace(/^\[|\]$/g, '')
    if (isIP(address) !== 0 && !isPublicAddress(address)) throw new PrivateAddress(host, address)
    return send(input, init)
  }
}

const publicOnly: NonNullable<RequestOptions['lookup']> = (host, options, done) => {
  resolveHost(host, { ...options, all: true }, (failure, addresses) => {
    if (failure !== null) return done(failure, '')
    const [first] = addresses
    const good = addresses.filter(({ address }) => isPublicAddress(address))
    const [chosen] = good
    if (chosen === undefined) return done(new PrivateAddress(host, first?.address ?? 'nothing'), '')
    if (options.all === true) return done(null, good)
    done(null, chosen.address, chosen.family)
  })
}
