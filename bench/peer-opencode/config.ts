/** The provider and model names in requests to its API. */
export const MODEL = { providerID: 'scripted', modelID: 'scripted-model' } as const

/** Configures opencode for the scripted model, and switches off everything that a run does not need. */
export function opencodeConfig(modelUrl: string): object {
  const id = `${MODEL.providerID}/${MODEL.modelID}`
  return {
    model: id,
    small_model: id,
    enabled_providers: [MODEL.providerID],
    provider: {
      [MODEL.providerID]: {
        npm: '@ai-sdk/openai-compatible',
        options: { baseURL: modelUrl, apiKey: 'none' },
        models: { [MODEL.modelID]: { limit: { context: 100_000, output: 8_000 } } },
      },
    },
    permission: 'allow',
    autoupdate: false,
    share: 'disabled',
    snapshot: false,
    lsp: false,
    formatter: false,
  }
}

/** Its whole environment: a separate home in `folder`, and no look-ups on the network. */
export function opencodeEnvironment(folder: string, configFile: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    XDG_CONFIG_HOME: `${folder}/config`,
    XDG_DATA_HOME: `${folder}/data`,
    XDG_STATE_HOME: `${folder}/state`,
    XDG_CACHE_HOME: `${folder}/cache`,
    OPENCODE_CONFIG: configFile,
    OPENCODE_DISABLE_AUTOUPDATE: '1',
    OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
    OPENCODE_DISABLE_EXTERNAL_SKILLS: '1',
    OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
    OPENCODE_DISABLE_MODELS_FETCH: '1',
    OPENCODE_DISABLE_SHARE: '1',
    OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER: '1',
  }
}
