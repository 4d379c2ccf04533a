import type { Level } from '../../src/domain/isolation.ts'
import type { CommandLimits } from '../../src/runner/command.ts'
import { commandRunner, DEFAULT_LIMITS, processStarter } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { chooseIsolation } from '../../src/sandbox/isolation.ts'
import type { TrialOptions } from '../../src/sandbox/trial.ts'

export type ServerOptions = {
  readonly env?: TrialOptions['env']
  readonly limits?: Partial<CommandLimits>
  readonly toolPaths?: readonly string[]
  readonly log?: (facts: object) => void
}

/** What a server has to isolate and run commands. It lives until its runner is closed. */
export async function isolatedServer(
  level: Level | 'auto',
  dataDir: string,
  { env = process.env, limits = {}, toolPaths = [], log = () => {} }: ServerOptions = {},
) {
  const runner = new Runner({ error: log })
  const isolation = await chooseIsolation(level, { runner, dataDir, env, toolPaths })
  const own = { ...DEFAULT_LIMITS, ...limits }
  return {
    runner,
    isolation,
    run: commandRunner(own, runner, isolation),
    start: processStarter(own, runner, isolation),
  }
}
