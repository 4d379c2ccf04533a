import { type IsolationPolicy, Level } from './isolation.ts'
import type { McpRequest, McpServer } from './mcp-servers.ts'
import { present } from './present.ts'
import type { GoalPart, GoalRequest, ProjectFolder, RunConfig, RunRequest } from './run-config.ts'

/** What a run was created with, apart from its configuration. */
type Beside = {
  readonly isolation?: IsolationPolicy | undefined
  /** The folder that it works in a copy of. */
  readonly copyOf?: ProjectFolder | undefined
}

/** The request for the same run again, as it was recorded. The check that its agent does not see is not in it. */
export function requestAgain(recorded: RunConfig, { isolation, copyOf }: Beside = {}) {
  const { goal, shell_goal, goal_options: _, all_of, mcp_servers = [], ...config } = recorded
  const { accept: __, ...rest } = config
  // Earlier versions had levels that no run can ask for any more.
  const level = Level.safeParse(isolation?.at_least).data
  return {
    ...rest,
    ...(all_of === undefined
      ? requestedGoal({ goal, shell_goal })
      : { all_of: all_of.map(requestedGoal) }),
    ...(copyOf === undefined ? {} : { cwd: copyOf.path }),
    ...(mcp_servers.length === 0 ? {} : { mcp_servers: mcp_servers.map(requestedServer) }),
    ...present({ isolation: level }),
  } satisfies RunRequest
}

const requestedGoal = ({ goal, shell_goal }: GoalPart): Omit<GoalRequest, 'all_of'> => ({
  goal,
  ...(shell_goal && {
    check: { command: shell_goal.check_command, conditions: shell_goal.success_condition },
  }),
})

/** A recorded server in the form of a request, as strict as it was recorded. */
export function requestedServer({
  source,
  network: _,
  private_address: __,
  trust_hints: ___,
  ...server
}: McpServer): McpRequest {
  if (source === 'request') return server
  const { name, required, on_change, tools } = server
  return { name, required, on_change, ...present({ tools }) }
}
