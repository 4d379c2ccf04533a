import { stat } from 'node:fs/promises'
import type { RunConfig } from '../domain/run-config.ts'
import type { ModelCatalogue } from './model/catalogue.ts'

/**
 * Why this server cannot work on a run: it does not have the project's folder, or cannot call the model. A sentence
 * with advice; null if it can.
 */
export async function obstacle(
  { cwd, model_name: model }: Pick<RunConfig, 'cwd' | 'model_name'>,
  { models, host }: { readonly models: Pick<ModelCatalogue, 'problem'>; readonly host: string },
): Promise<string | null> {
  const folder = await folderProblem(cwd)
  if (folder !== null) {
    return `The server on ${host} cannot work in ${cwd}: ${folder}. Put the project there, or start a server of the same pool on a machine that has it.`
  }
  const problem = models.problem(model)
  return problem === null ? null : `On ${host}, the model "${model}" ${problem}`
}

async function folderProblem(cwd: string): Promise<string | null> {
  try {
    return (await stat(cwd)).isDirectory() ? null : 'it is not a folder'
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    return code === 'ENOENT' ? 'the folder does not exist' : `the folder cannot be opened (${code})`
  }
}
