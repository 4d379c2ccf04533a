import { NumberInput, SimpleGrid } from '@mantine/core'
import { countField, numberField } from '../ui/field.ts'
import type { Draft } from './draft.ts'

type Props = {
  readonly value: Draft
  readonly onChange: (changes: Partial<Draft>) => void
  readonly problem: (field: string) => string | undefined
}

/** How long the agent may try. */
export function TurnLimits(form: Props) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }}>
      <NumberInput
        label="Iteration limit"
        placeholder="20"
        {...countField('max_iterations', form)}
      />
      <NumberInput
        label="Turn limit"
        placeholder="50 an iteration"
        {...countField('max_turns_per_iteration', form)}
      />
    </SimpleGrid>
  )
}

/** What the run may use. */
export function BudgetLimits(form: Props) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 3 }}>
      <NumberInput
        label="Cost limit"
        placeholder="None"
        prefix="$"
        min={0}
        decimalScale={4}
        {...numberField('max_cost_usd', form)}
      />
      <NumberInput
        label="Token limit"
        placeholder="None"
        thousandSeparator=","
        {...countField('max_tokens', form)}
      />
      <NumberInput
        label="Working time limit"
        placeholder="None"
        suffix=" s"
        min={1}
        {...numberField('max_seconds', form)}
      />
    </SimpleGrid>
  )
}
