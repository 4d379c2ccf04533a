import { lookup as resolveHost } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { isPublicAddress } from './connection.ts'

/** A host has an address that is not on the public Internet. */
export class PrivateAddress extends Error {
  override readonly name = 'PrivateAddress'

  /** @param advice a sentence on how to allow that */
  constructor(host: string, address: string, advice?: string) {
    const why = `${host} leads to ${address}, which is not an address of the public Internet`
    super(advice === undefined ? why : `${why}. ${advice}`)
  }
}

/** Whether the host of a URL is itself an address, and not a public one. A name is looked up when a connection is made. */
export function isPrivateHost({ hostname }: URL): boolean {
  const address = hostname.replace(/^\[|\]$/g, '')
  return isIP(address) !== 0 && !isPublicAddress(address)
}

/** A `lookup` for connections that finds only public addresses, whatever a name resolves to at that moment. */
export const publicOnly =
  (advice?: string): LookupFunction =>
  (host, options, done) => {
    resolveHost(host, { ...options, all: true }, (failure, addresses) => {
      if (failure !== null) return done(failure, '')
      const [first] = addresses
      const good = addresses.filter(({ address }) => isPublicAddress(address))
      const [chosen] = good
      if (chosen === undefined) {
        return done(new PrivateAddress(host, first?.address ?? 'nothing', advice), '')
      }
      if (options.all === true) return done(null, good)
      done(null, chosen.address, chosen.family)
    })
  }
