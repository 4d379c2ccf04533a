import { Button, Center, Stack, Text, Title } from '@mantine/core'
import { Link } from 'wouter'
import { useTitle } from '../ui/use-title.ts'

type Props = { readonly title?: string; readonly children?: string }

export function NotFound({ title = 'Nothing here', children }: Props) {
  useTitle(title)
  return (
    <Center h="60vh" p="lg">
      <Stack align="center" gap="sm" maw={460}>
        <Title order={1} size="h3">
          {title}
        </Title>
        <Text c="dimmed" ta="center">
          {children ?? 'There is nothing at this address.'}
        </Text>
        <Button component={Link} href="/" variant="default" mt="sm">
          All runs
        </Button>
      </Stack>
    </Center>
  )
}
