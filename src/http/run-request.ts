import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { RunConfig } from '../domain/run-config.ts'
import type { AppDeps, PlannedRun, RunRequest } from './deps.ts'
import { InvalidInput } from './plugins/validation.ts'
import type { FieldProblem } from './problems/problem.ts'

type Defaults = AppDeps['defaults']

const { max_iterations, max_tokens, max_cost_usd, max_seconds, ...others } =
  RunConfig.unwrap().shape

/** The most that may be asked for: what is stored already may be more. */
export const MAX_ITERATIONS = 1_000_000
const MAX_TOKENS = 1_000_000_000_000
const MAX_COST_USD = 1_000_000_000
const MAX_SECONDS = 3650 * 86_400

const config = {
  ...others,
  max_iterations: max_iterations.max(MAX_ITERATIONS),
  max_tokens: max_tokens.unwrap().max(MAX_TOKENS).nullable(),
  max_cost_usd: max_cost_usd.unwrap().max(MAX_COST_USD).nullable(),
  max_seconds: max_seconds.unwrap().max(MAX_SECONDS).nullable(),
}

/** The body of POST /api/runs. Fields that are left out get this server's defaults. */
export const runRequestSchema = (defaults: Defaults) =>
  z
    .strictObject({
      goal: config.goal.describe('The name of one of GET /api/goals'),
      // The default is a folder of this server, so the description of the API does not name it.
      cwd: config.cwd
        .optional()
        .describe("The project's folder. Without it: the one in which the server was started"),
      model_name: config.model_name.default(defaults.model_name),
      max_iterations: config.max_iterations.default(defaults.max_iterations),
      hitl_enabled: config.hitl_enabled
        .default(false)
        .describe('Wait for a person after every iteration that did not reach the goal'),
      max_cost_usd: config.max_cost_usd.default(null).describe('US dollars'),
      max_tokens: config.max_tokens.default(null),
      max_seconds: config.max_seconds
        .default(null)
        .describe('Working time; waiting for a person does not count'),
      reason: z.string().nullable().default(null).describe('Why it is started. Kept in the log'),
    })
    .register(z.globalRegistry, {
      examples: [
        {
          goal: 'pytest',
          cwd: '/path/to/project',
          model_name: 'claude-sonnet-4-6',
          max_iterations: 20,
          hitl_enabled: false,
        },
      ],
    })

/** What can still be judged of a request that does not fit: its good fields, defaults for the others. */
function salvage(body: unknown, defaults: Defaults): RunRequest | null {
  const lenient = z.object({
    goal: config.goal.catch(''),
    cwd: config.cwd.catch(defaults.cwd),
    model_name: config.model_name.catch(defaults.model_name),
    max_iterations: config.max_iterations.catch(defaults.max_iterations),
    hitl_enabled: config.hitl_enabled.catch(false),
    max_cost_usd: config.max_cost_usd.catch(null),
    max_tokens: config.max_tokens.catch(null),
    max_seconds: config.max_seconds.catch(null),
  })
  return lenient.safeParse(body).data ?? null
}

/**
 * Plans the run that a request asks for, or names all that is wrong with it: what does not fit the
 * schema (`misfit`, from the framework), and what only the agent can know about the other fields.
 */
export async function planRequest(
  body: Omit<RunRequest, 'cwd'> & {
    readonly cwd?: string | undefined
    readonly reason: string | null
  },
  misfit: unknown,
  { planRun, defaults }: Pick<AppDeps, 'planRun' | 'defaults'>,
): Promise<Result<PlannedRun, readonly FieldProblem[]>> {
  if (!(misfit instanceof InvalidInput)) {
    const { reason: _, cwd = defaults.cwd, ...request } = body
    return planRun({ ...request, cwd })
  }
  const { problems } = misfit
  const request = salvage(body, defaults)
  const planned = request === null ? ok(null) : await planRun(request)
  const known = new Set(problems.map(({ field }) => field))
  const further = planned.isErr() ? planned.error.filter(({ field }) => !known.has(field)) : []
  return err([...problems, ...further])
}
