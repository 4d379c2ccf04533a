import * as z from 'zod'
import { PLAN_TOOL, Plan } from '../../domain/plan.ts'
import { defineTool, succeeded } from './tool.ts'

export const updatePlan = defineTool({
  name: PLAN_TOOL,
  description:
    'Note the steps of your task and how far you are: people see the list, and you keep it when your conversation is summarized. Use it for ' +
    'work of several steps, with one step in progress, and give the whole list each time.',
  readOnly: true,
  args: z.strictObject({ steps: Plan }),
  touches: () => ({}),
  run: async () => succeeded('The plan is noted.'),
})
