import { onTestFinished } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { ModelRequest, Models } from '../../src/models/model.ts'
import { createModels } from '../../src/models/models.ts'

export const KEY = 'sk-a-key-nobody-may-see'

/** Starts a scripted model until the end of the test, and models that use it. */
export async function scripted(script: Script) {
  const server = await startScriptedModel({ script })
  onTestFinished(() => server.close())
  const settings = { RETRAI_LLM_BASE_URL: server.url, RETRAI_LLM_API_KEY: KEY }
  const models = createModels(settings)
  return { server, models, host: new URL(server.url).host }
}

export const REQUEST: ModelRequest = {
  modelName: 'scripted-model',
  messages: [
    { role: 'system', content: 'You fix programs.' },
    { role: 'user', content: 'Fix this one.' },
  ],
  tools: [],
}

/** Sends one request, with a signal that is never aborted. */
export function ask(models: Models, request: Partial<ModelRequest> = {}) {
  return models.complete({ ...REQUEST, ...request }, new AbortController().signal)
}

/** A script that answers every request with this assistant message, even if that is not valid. */
export function says(message: Record<string, unknown>, rest: Record<string, unknown> = {}): Script {
  const choice = { index: 0, delta: { role: 'assistant', ...message }, finish_reason: 'stop' }
  return [{ status: 200, body: { choices: [choice], ...rest } }]
}
