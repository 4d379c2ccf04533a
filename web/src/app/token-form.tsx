import { Button, Center, PasswordInput, Stack, Text, Title } from '@mantine/core'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { hasToken, keepToken } from '../api/client.ts'
import { bound } from '../ui/field.ts'

type Props = {
  /** Why the last token that was tried is not in use. */
  readonly problem: string | undefined
  readonly isTrying: boolean
  readonly onTry: () => void
}

/** The secret of a token, which the tab keeps. */
export default function TokenForm({ problem, isTrying, onTry }: Props) {
  const [token, setToken] = useState('')
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (!isTrying) input.current?.focus()
  }, [isTrying])
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    keepToken(token.trim())
    onTry()
  }
  return (
    <Center component="main" h="100dvh" p="lg">
      <form onSubmit={submit}>
        <Stack maw={380}>
          <Title order={1} size="h3">
            This server needs a token
          </Title>
          <Text c="dimmed" size="sm">
            Enter the secret of a token, which begins with retrai_, or the value of RETRAI_TOKEN.
            This tab keeps it until you close it.
          </Text>
          <PasswordInput
            ref={input}
            label="Token"
            {...bound(token, setToken)}
            error={hasToken() && !isTrying && problem}
          />
          <Button type="submit" loading={isTrying} disabled={token.trim() === ''}>
            Continue
          </Button>
        </Stack>
      </form>
    </Center>
  )
}
