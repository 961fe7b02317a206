"""Every error the service answers with.

I2VError
├── BadRequest (400)
│   ├── InvalidRequest            unknown, duplicate or ill-typed field; unreadable body
│   ├── InvalidPrompt             empty, too long, or not text
│   ├── InvalidParameter          a value outside what the model allows
│   ├── DoesNotFit                no pool's card can hold the job
│   ├── MissingImage, AmbiguousImage
│   ├── InvalidImage              not decodable, or truncated
│   ├── AnimatedImage, ImageDimensions, ImageTooLarge
│   ├── InvalidDataUrl
│   ├── UrlNotAllowed             fetching pictures by URL is off, or not from there
│   └── ImageFetchFailed          the picture's URL gave no picture
├── InvalidApiKey (401)
├── NotFound (404)
│   ├── VideoNotFound
│   └── ModelNotFound
├── MethodNotAllowed (405)
├── RequestTimedOut (408)
├── Conflict (409)
│   ├── VideoNotReady, VideoFailed
│   ├── SubmissionInFlight        the same submission is being looked at
│   └── NotCancellable
├── VideoExpired (410)
├── RequestTooLarge (413)
├── UnsupportedMedia (415)
│   ├── UnsupportedContentType
│   └── UnsupportedImageFormat
├── RangeNotSatisfiable (416)
├── IdempotencyKeyReused (422)
├── RateLimited (429)             one owner has too much work waiting
├── ServiceUnavailable (503)
│   ├── ServerOverloaded          the queue is full
│   └── StorageUnavailable        the disk is full or out of reach
└── ServerFault (500)
    ├── GenerationFailed          the model failed on this job
    ├── EncodingFailed            FFmpeg failed on this job
    ├── WorkerCrashed             the worker died under this job three times
    ├── InsufficientGpuMemory     out of memory on the card, after a smaller exact plan was tried
    ├── WeightsUnavailable        the model's weights cannot be loaded
    └── ConfigurationInvalid      the settings cannot be used

`Cancelled` stands beside the tree: it ends a generation and a job, and is never an HTTP answer.

Knows nothing of HTTP beyond the status each error carries.
"""

from __future__ import annotations

import inspect
from typing import Any


class I2VError(Exception):
    """The service could not do this."""

    code = "server_error"
    status = 500

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        """`message` defaults to the class's docstring; `param` names the request field at fault."""
        self.message = message if message is not None else (inspect.getdoc(type(self)) or self.code)
        self.param = param
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle their positional args alone; errors cross process borders with every field.
        return (_restore, (type(self), self.message, self.param, self.retry_after_s))


def _restore(error: type[I2VError], message: str, param: str | None, retry_after_s: float | None) -> I2VError:
    return error(message, param=param, retry_after_s=retry_after_s)


class Cancelled(Exception):
    """The job was cancelled."""

    code = "cancelled"


class BadRequest(I2VError):
    """The request cannot be understood."""

    code, status = "invalid_request", 400


class InvalidRequest(BadRequest):
    """The request cannot be understood."""


class InvalidPrompt(BadRequest):
    """The prompt is empty, too long, or not text."""

    code = "invalid_prompt"


class InvalidParameter(BadRequest):
    """A parameter is outside what the model allows."""

    code = "invalid_parameter"


class DoesNotFit(BadRequest):
    """No card of this service can hold the job."""

    code = "does_not_fit"


class MissingImage(BadRequest):
    """A picture is required: send it as the file field input_reference."""

    code = "missing_image"


class AmbiguousImage(BadRequest):
    """Exactly one picture is allowed."""

    code = "ambiguous_image"


class InvalidImage(BadRequest):
    """The picture is damaged or truncated and cannot be decoded."""

    code = "invalid_image"


class AnimatedImage(BadRequest):
    """The picture is animated; send a still."""

    code = "animated_image"


class ImageDimensions(BadRequest):
    """The picture's sides are outside 64 to 8192 pixels."""

    code = "image_dimensions"


class ImageTooLarge(BadRequest):
    """The picture has too many pixels."""

    code = "image_too_large"


class InvalidDataUrl(BadRequest):
    """The data URL cannot be decoded."""

    code = "invalid_data_url"


class UrlNotAllowed(BadRequest):
    """Fetching pictures by URL is not allowed here; send the file, or a data URL."""

    code = "url_not_allowed"


class ImageFetchFailed(BadRequest):
    """The picture could not be fetched from its URL."""

    code = "image_fetch_failed"


class InvalidApiKey(I2VError):
    """Send a key that this service knows: Authorization: Bearer KEY."""

    code, status = "invalid_api_key", 401


class NotFound(I2VError):
    """There is nothing at this address."""

    code, status = "not_found", 404


class VideoNotFound(NotFound):
    """There is no video with this id."""

    code = "video_not_found"


class ModelNotFound(NotFound):
    """This service does not serve that model."""

    code = "model_not_found"


class MethodNotAllowed(I2VError):
    """This address does not take that method."""

    code, status = "method_not_allowed", 405


class RequestTimedOut(I2VError):
    """The request's body did not arrive in time."""

    code, status = "request_timeout", 408


class Conflict(I2VError):
    """The video's state does not allow this."""

    code, status = "conflict", 409


class VideoNotReady(Conflict):
    """The video is not finished yet."""

    code = "video_not_ready"


class VideoFailed(Conflict):
    """The video's job failed; there is no content."""

    code = "video_failed"


class NotCancellable(Conflict):
    """The video's job has already ended."""

    code = "not_cancellable"


class SubmissionInFlight(Conflict):
    """The same submission is in flight; try again later."""

    code = "submission_in_flight"


class VideoExpired(I2VError):
    """The video has expired and its content was removed."""

    code, status = "video_expired", 410


class RequestTooLarge(I2VError):
    """The request's body is too large."""

    code, status = "request_too_large", 413


class UnsupportedMedia(I2VError):
    """This kind of content is not supported."""

    code, status = "unsupported_content_type", 415


class UnsupportedContentType(UnsupportedMedia):
    """Send multipart/form-data or application/json."""


class UnsupportedImageFormat(UnsupportedMedia):
    """The picture is not a JPEG, PNG, WEBP, BMP or AVIF still."""

    code = "unsupported_image_format"


class RangeNotSatisfiable(I2VError):
    """The requested range lies outside the content."""

    code, status = "range_not_satisfiable", 416


class IdempotencyKeyReused(I2VError):
    """This Idempotency-Key belongs to another submission."""

    code, status = "idempotency_key_reused", 422


class RateLimited(I2VError):
    """You have too much work waiting; try again later."""

    code, status = "rate_limit_exceeded", 429


class ServiceUnavailable(I2VError):
    """The service cannot take this now; try again later."""

    code, status = "service_unavailable", 503


class ServerOverloaded(ServiceUnavailable):
    """The queue is full; try again later."""

    code = "server_overloaded"


class StorageUnavailable(ServiceUnavailable):
    """The storage is full or out of reach; try again later."""

    code = "storage_unavailable"


class ServerFault(I2VError):
    """The service failed on this request."""


class GenerationFailed(ServerFault):
    """The model failed on this job."""

    code = "generation_failed"


class EncodingFailed(ServerFault):
    """The clip could not be encoded."""

    code = "encoding_failed"


class WorkerCrashed(ServerFault):
    """The worker died under this job on every attempt."""

    code = "worker_crashed"


class InsufficientGpuMemory(ServerFault):
    """The card ran out of memory on this job."""

    code = "insufficient_gpu_memory"


class WeightsUnavailable(ServerFault):
    """The model's weights cannot be loaded."""

    code = "weights_unavailable"


class ConfigurationInvalid(ServerFault):
    """The settings cannot be used."""

    code = "configuration_invalid"
