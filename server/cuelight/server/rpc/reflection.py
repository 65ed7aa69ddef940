"""Server reflection, v1 and v1alpha: grpcurl and its like call the server without having its .proto files.

The two versions have the same messages under two package names. The reflection package ships v1alpha's alone, so v1's
are made from them by renaming.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2 as v1alpha

from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor
from cuelight.server.rpc.status import StatusCode

__all__ = ["ReflectionServicer", "reflection_services"]

_V1_FILE = "grpc/reflection/v1/reflection.proto"
_METHOD = "ServerReflectionInfo"


def reflection_services(services: Iterable[Service]) -> tuple[Service, Service]:
    """Return the tables of reflection v1 and v1alpha over `services` and over themselves."""
    files = (_v1_descriptor(), v1alpha.DESCRIPTOR)
    descriptors = [file.services_by_name["ServerReflection"] for file in files]
    names = sorted({service.name for service in services} | {descriptor.full_name for descriptor in descriptors})
    v1, alpha = (
        service_from_descriptor(
            descriptor,
            ReflectionServicer(names, GetMessageClass(descriptor.methods_by_name[_METHOD].output_type)),
            while_draining=(_METHOD,),
        )
        for descriptor in descriptors
    )
    return v1, alpha


class ReflectionServicer:
    """Answers with the descriptors of the protobuf runtime's default pool. Holds no state."""

    def __init__(self, service_names: Iterable[str], response_type: type[Message]) -> None:
        self._service_names = tuple(service_names)
        self._response_type: Any = response_type
        self._pool = descriptor_pool.Default()

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[Any], context: RpcContext
    ) -> AsyncGenerator[Message, None]:
        """Answer each request in turn; what is not known is an `error_response`, and the stream goes on."""
        async for request in requests:
            response = self._response_type(valid_host=request.host, original_request=request)
            try:
                self._fill(response, request)
            except KeyError as error:
                response.error_response.error_code = StatusCode.NOT_FOUND
                response.error_response.error_message = str(error.args[0])
            yield response

    def _fill(self, response: Any, request: Any) -> None:
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._service_names:
                response.list_services_response.service.add(name=name)
        elif asked == "file_by_filename":
            _add_files(response, self._pool.FindFileByName(request.file_by_filename))
        elif asked == "file_containing_symbol":
            _add_files(response, self._pool.FindFileContainingSymbol(request.file_containing_symbol))
        elif asked == "file_containing_extension":
            extended = self._pool.FindMessageTypeByName(request.file_containing_extension.containing_type)
            number = request.file_containing_extension.extension_number
            extension = self._pool.FindExtensionByNumber(extended, number)
            _add_files(response, self._pool.FindFileContainingSymbol(extension.full_name))
        elif asked == "all_extension_numbers_of_type":
            extended = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
            numbers = response.all_extension_numbers_response
            numbers.base_type_name = extended.full_name
            numbers.extension_number.extend(sorted(field.number for field in self._pool.FindAllExtensions(extended)))
        else:
            response.error_response.error_code = StatusCode.INVALID_ARGUMENT
            response.error_response.error_message = "message_request: none of its fields is set"


def _add_files(response: Any, file: FileDescriptor) -> None:
    """Add the file and everything it imports, each once, the file itself first."""
    files = {file.name: file}
    waiting = [file]
    while waiting:
        for dependency in waiting.pop().dependencies:
            if dependency.name not in files:
                files[dependency.name] = dependency
                waiting.append(dependency)
    response.file_descriptor_response.file_descriptor_proto.extend(file.serialized_pb for file in files.values())


def _v1_descriptor() -> FileDescriptor:
    pool = descriptor_pool.Default()
    try:
        return pool.FindFileByName(_V1_FILE)
    except KeyError:
        pool.AddSerializedFile(_renamed(v1alpha.DESCRIPTOR).SerializeToString())
        return pool.FindFileByName(_V1_FILE)


def _renamed(alpha: FileDescriptor) -> FileDescriptorProto:
    """Return the v1alpha file with its name, package and type names changed to v1."""
    file = FileDescriptorProto()
    alpha.CopyToProto(file)
    old, new = f".{file.package}.", ".grpc.reflection.v1."
    file.name, file.package = _V1_FILE, new.strip(".")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, new)
            method.output_type = method.output_type.replace(old, new)
    return file
