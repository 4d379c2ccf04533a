import OpenAI from 'openai'
import { clients, headersOf, SDK_OPTIONS, throwStatus } from './clients.ts'

class EndpointClient extends OpenAI {
  protected override makeStatusError(...given: Parameters<typeof throwStatus>): never {
    throwStatus(...given)
  }
}

/** A client for each endpoint. It sets everything that the SDK would otherwise read from OPENAI_* variables. */
export const openaiClients = () =>
  clients(
    (endpoint) =>
      new EndpointClient({
        ...SDK_OPTIONS,
        baseURL: endpoint.baseUrl,
        // The SDK requires a key, even for local endpoints that need none.
        apiKey: endpoint.apiKey ?? 'none',
        defaultHeaders: headersOf(endpoint),
        adminAPIKey: null,
        organization: null,
        project: null,
        webhookSecret: null,
      }),
  )
