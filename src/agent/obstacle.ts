import { stat } from 'node:fs/promises'
import { type ModelChoice, modelsLeft } from '../domain/model-choice.ts'
import type { ModelCatalogue } from './model/catalogue.ts'
import { type OfProject, projectOf, projectProblem } from './project-folder.ts'

/** Why this server should not claim a run. */
export type Obstacle = {
  /** `cannot_work`: it cannot work on the run. `only_fallback`: it can, if no other can call the first model. */
  readonly type: 'cannot_work' | 'only_fallback'
  /** A sentence with advice. */
  readonly reason: string
}

/**
 * What keeps this server from working on a run: it does not have the project's folder, or cannot call the model. A
 * server that can call one of the run's fallback models can work on it, but others may be better. Null if nothing does.
 */
export async function obstacle(
  run: ModelChoice & OfProject,
  { models, host }: { readonly models: Pick<ModelCatalogue, 'problem'>; readonly host: string },
): Promise<Obstacle | null> {
  const { cwd } = run.config
  const folder = (await folderProblem(cwd)) ?? projectProblem(cwd, projectOf(run))
  if (folder !== null) {
    const reason = `The server on ${host} cannot work in ${cwd}: ${folder}. Put the project there, or start a server of the same pool on a machine that has it.`
    return { type: 'cannot_work', reason }
  }
  const ask = async (model: string) => {
    const problem = await models.problem(model)
    return problem === null ? null : `the model "${model}" ${problem}`
  }
  const problems = await Promise.all(modelsLeft(run).map(ask))
  const [first] = problems
  if (first == null) return null
  const callable = problems.includes(null)
  const named = callable ? [first] : problems
  return {
    type: callable ? 'only_fallback' : 'cannot_work',
    reason: `On ${host}, ${named.join(' Also, ')}`,
  }
}

async function folderProblem(cwd: string): Promise<string | null> {
  try {
    return (await stat(cwd)).isDirectory() ? null : 'it is not a folder'
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    return code === 'ENOENT' ? 'the folder does not exist' : `the folder cannot be opened (${code})`
  }
}
