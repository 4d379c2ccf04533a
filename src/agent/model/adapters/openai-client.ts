import OpenAI from 'openai'
import { HttpStatusError } from '../adapter.ts'
import { patientFetch } from '../patient-fetch.ts'
import type { Endpoint } from '../routing.ts'

/** Longer than any deadline of this server, so that only our own decide. */
const NEVER_MS = 2 ** 31 - 1

/** Keeps the whole body of an error, because endpoints put their message in different places. */
class EndpointClient extends OpenAI {
  protected override makeStatusError(
    status: number,
    error: object,
    message: string | undefined,
    headers: Headers,
  ): never {
    throw new HttpStatusError(status, error ?? message ?? {}, headers)
  }
}

/** A client of one endpoint. It sets everything that the SDK would otherwise read from OPENAI_* variables. */
function createClient({ baseUrl, apiKey }: Endpoint): OpenAI {
  return new EndpointClient({
    baseURL: baseUrl,
    // The SDK requires a key, even for local endpoints that need none.
    apiKey: apiKey ?? 'none',
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: 'off',
    fetch: patientFetch,
  })
}

/** One client per endpoint. */
export function openaiClients(): (endpoint: Endpoint) => OpenAI {
  const clients = new Map<string, OpenAI>()
  return (endpoint) => {
    const client = clients.get(endpoint.baseUrl) ?? createClient(endpoint)
    clients.set(endpoint.baseUrl, client)
    return client
  }
}
